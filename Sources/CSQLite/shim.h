// libsqlite3 as Swift sees it: the header, and what Swift cannot call or express by itself.
#ifndef CHOCK_CSQLITE_SHIM_H
#define CHOCK_CSQLITE_SHIM_H

#include <sqlite3.h>

// sqlite3_db_config is variadic; these are the boolean options.
static inline int chock_db_config_set(sqlite3 *db, int option, int on) {
  return sqlite3_db_config(db, option, on, (int *)0);
}

// The destructor constants are casts of integers to function pointers, which Swift does not import.
static inline int chock_bind_text(sqlite3_stmt *statement, int index, const char *text, int length) {
  return sqlite3_bind_text(statement, index, text, length, SQLITE_TRANSIENT);
}

static inline int chock_bind_blob(sqlite3_stmt *statement, int index, const void *bytes, int length) {
  return sqlite3_bind_blob(statement, index, bytes, length, SQLITE_TRANSIENT);
}

#endif
