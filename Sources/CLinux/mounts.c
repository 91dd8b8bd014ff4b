#define _GNU_SOURCE
#include "CLinux.h"

#include <linux/magic.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/vfs.h>

int chock_private_mounts(void) {
  if (unshare(CLONE_NEWNS) != 0) return -1;
  return mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL);
}

int chock_is_on_fat(int file) {
  struct statfs info;
  if (fstatfs(file, &info) != 0) return -1;
  return info.f_type == MSDOS_SUPER_MAGIC;
}
