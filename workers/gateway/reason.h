/* The reason phrase of a status line, where an answer has one of its own. */
#ifndef BACKOFFICE_REASON_H
#define BACKOFFICE_REASON_H

#define REASON_MAX 200

/*
 * The phrase of the response that is queued next, in the place of the usual one of this status. NULL, empty, or with
 * control characters: the usual one. What is longer than REASON_MAX is cut.
 */
extern void reason_set(unsigned int status, const char *phrase);

#endif
