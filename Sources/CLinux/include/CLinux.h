// Calls of Linux that Swift's Glibc module leaves out.
#pragma once

/// From now on the mounts that the calling thread makes are seen by nobody else, and end with it; those that
/// others make and end are still seen. 0, or -1 with errno (unshare(2), mount_namespaces(7)).
int chock_private_mounts(void);

/// Whether an open file or folder lies on FAT: 1, 0, or -1 with errno (statfs(2)).
int chock_is_on_fat(int file);
