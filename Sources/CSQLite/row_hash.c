// The hash of a table's content, in C because it runs for every value of a database
// (docs/decisions/0021-fingerprint.md: a hash that resists an attacker costs three times as long).
#include "CSQLite.h"
#include <string.h>

// One step of the hash: the two halves of the 128-bit product, folded.
static inline sqlite3_uint64 chock_fold(sqlite3_uint64 a, sqlite3_uint64 b) {
  unsigned __int128 product = (unsigned __int128)a * b;
  return (sqlite3_uint64)product ^ (sqlite3_uint64)(product >> 64);
}

// Two lanes with different odd constants (digits of pi), so that a row has 128 bits.
static inline void chock_mix(sqlite3_uint64 lanes[2], sqlite3_uint64 word) {
  lanes[0] = chock_fold(lanes[0] ^ word, 0x243f6a8885a308d3u) + 0x13198a2e03707345u;
  lanes[1] = chock_fold(lanes[1] ^ word, 0xa4093822299f31d1u) + 0x082efa98ec4e6c89u;
}

// Each value counts with its type and each text and blob with its length, so that no two different rows
// are the same words.
int chock_hash_rows(sqlite3_stmt *statement, chock_content *content) {
  int columns = sqlite3_column_count(statement);
  int code;
  while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
    sqlite3_uint64 lanes[2] = {0x452821e638d01377u, 0xbe5466cf34e90c6du};
    for (int column = 0; column < columns; column++) {
      // One look-up for each value: the sqlite3_column_ functions look it up anew for each question.
      sqlite3_value *value = sqlite3_column_value(statement, column);
      int type = sqlite3_value_type(value);
      sqlite3_uint64 word = 0;
      chock_mix(lanes, (sqlite3_uint64)type);
      if (type == SQLITE_INTEGER) {
        chock_mix(lanes, (sqlite3_uint64)sqlite3_value_int64(value));
      } else if (type == SQLITE_FLOAT) {
        double real = sqlite3_value_double(value);
        memcpy(&word, &real, sizeof word);
        chock_mix(lanes, word);
      } else if (type != SQLITE_NULL) {
        const unsigned char *bytes = (const unsigned char *)sqlite3_value_blob(value);
        int count = sqlite3_value_bytes(value);
        chock_mix(lanes, (sqlite3_uint64)count);
        for (; count >= 8; count -= 8, bytes += 8) {
          memcpy(&word, bytes, 8);
          chock_mix(lanes, word);
        }
        if (count > 0) {
          word = 0;
          memcpy(&word, bytes, (size_t)count);
          chock_mix(lanes, word);
        }
      }
    }
    content->rows++;
    content->sum[0] += chock_fold(lanes[0], 0xc0ac29b7c97c50ddu);
    content->sum[1] += chock_fold(lanes[1], 0x3f84d5b5b5470917u);
  }
  return code;
}
