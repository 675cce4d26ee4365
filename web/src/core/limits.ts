/** Every bound of the client in one place.  Units are last in the names. */

export const BODY_BYTES_MAX = 16_384; // one message's text, in UTF-8; the server's own bound
export const TITLE_CHARS_MAX = 120;
export const FILE_BYTES_MAX = 512 * 1_048_576; // the server's own bound, as the next two
export const FILE_NAME_CHARS_MAX = 200;
export const FILES_PER_ENTRY_MAX = 10;
export const UPLOADS_MAX = 100; // files of this page on their way, or waiting for it
export const UPLOADS_AT_ONCE_MAX = 3; // of them are really under way
export const UPLOAD_TRIES_MAX = 10; // faults in a row while connected; then somebody must ask again
export const CHECK_AGAIN_MS = 400; // until a file that the server checks is looked at again
export const CURSORS_MAX = 1_000; // in one resume
export const MISSING_MAX = 500; // bodies asked for again in one resume
export const RESUME_BYTES_MAX = 60_000; // of one resume frame; the server takes 65,536
export const WATCH_MAX = 500;
export const PAGE_ROWS = 50;
export const ROWS_MAX = 4_000; // of one room that nobody looks at; beyond it the oldest are let go
export const OUTBOX_MAX = 500; // messages waiting to be sent
export const IN_FLIGHT_MAX = 16; // posts sent and not yet acknowledged

export const OPEN_TIMEOUT_MS = 5_000; // from opening a socket to its welcome, each step
export const PING_AFTER_MS = 4_000; // of silence; with the next it is how soon a hung door is noticed: 8 s
export const PONG_WITHIN_MS = 4_000;
export const BACKOFF_FIRST_MS = 100;
export const BACKOFF_MAX_MS = 5_000;
export const STEADY_AFTER_MS = 5_000; // a connection that lived this long starts the back-off anew
export const BUSY_WAIT_MS = 1_000; // at least, when the server says it is full
export const ACK_WITHIN_MS = 10_000; // then the same post is sent again
export const LANDED_SHOWN_MS = 6_000;
export const READ_AFTER_MS = 400; // read marks are gathered this long
export const REFILL_FIRST_MS = 2_000; // until a body that a page lacked is asked for again
export const REFILL_MAX_MS = 20_000;
export const TYPING_REPEAT_MS = 4_000;
export const TYPING_STOP_MS = 5_000; // without a key
export const TYPING_SHOWN_MS = 6_000;
