// libsqlite3 as Swift sees it: the header, and what Swift cannot call or express by itself.
#ifndef CHOCK_CSQLITE_H
#define CHOCK_CSQLITE_H

#include <sqlite3.h>
#include <stdint.h>

// sqlite3_db_config is variadic; these are the boolean options.
static inline int chock_db_config_set(sqlite3 *db, int option, int on) {
  return sqlite3_db_config(db, option, on, (int *)0);
}

// The destructor constants are casts of integers to function pointers, which Swift does not import.
static inline int chock_bind_text(sqlite3_stmt *statement, int index, const char *text, int length) {
  return sqlite3_bind_text(statement, index, text ? text : "", length, SQLITE_TRANSIENT);
}

static inline int chock_bind_blob(sqlite3_stmt *statement, int index, const void *bytes, int length) {
  return sqlite3_bind_blob(statement, index, bytes ? bytes : "", length, SQLITE_TRANSIENT);
}

// MARK: row_hash.c

// What the rows of a query hold, whatever their order: the sum of the hashes of the rows.
typedef struct {
  sqlite3_int64 rows;
  sqlite3_uint64 sum[2];
} chock_content;

// Steps a query to its end. Returns what sqlite3_step returned last: SQLITE_DONE or an error.
int chock_hash_rows(sqlite3_stmt *statement, chock_content *content);

// MARK: rehearsal_vfs.c

// The name of the file system under which a rehearsal opens its database.
extern const char *const chock_rehearsal_vfs;

// Makes it known to SQLite; any number of times. Returns an SQLite result code.
int chock_register_rehearsal_vfs(void);

// The most bytes that temporary files of this thread's rehearsal took at one time since the last call.
sqlite3_int64 chock_take_temporary_peak(void);

// MARK: wal_pages.c

// The pages that the open write transaction of a database in WAL mode has changed. Writes what is still in memory into the
// write-ahead log, and gives each of them to `found`, some of them several times.
//
// Returns SQLITE_OK; SQLITE_NOTFOUND where there is no write-ahead log; or an error.
int chock_changed_pages(sqlite3 *db, void (*found)(void *context, uint32_t page), void *context);

#endif
