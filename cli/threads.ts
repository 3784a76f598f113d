/**
 * DuckDB's work runs on libuv's pool: two queries, sealing, and a log's write for each topic may be
 * under way at once, which would fill the pool's usual four threads and hold up every file that is
 * read meanwhile. It is read when the pool is first used: import this before anything else.
 */
process.env['UV_THREADPOOL_SIZE'] ??= '16';
