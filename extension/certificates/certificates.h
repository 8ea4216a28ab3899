/*
 * certificates.h
 *		Between the files of this context.
 */
#ifndef BACKOFFICE_CERTIFICATES_H
#define BACKOFFICE_CERTIFICATES_H

#include "core/core.h"

/* Bytes of order_ref, client_ref and other names that the caller gives things, and of reasons. */
#define MAX_REF_BYTES 200
#define MAX_REASON_BYTES 500

/* A text argument as a C string, checked: error invalid_argument when it is empty, too long, or NULL where required. */
extern char *certificates_arg(FunctionCallInfo fcinfo, int number, const char *name, int max_bytes, bool required);

/* No part of it is longer than 1000 years: added to a time of ours, it does not leave the calendar. */
extern bool certificates_is_within_calendar(const Interval *interval);

/* An interval later; DT_NOEND where that may leave the calendar. */
extern TimestampTz certificates_later(TimestampTz time, const Interval *interval);

/* The id in an argument, or error invalid_argument. */
extern pg_uuid_t *certificates_arg_id(FunctionCallInfo fcinfo, int number);

/* Raises PT404 certificate_not_found. */
extern void certificate_not_found(const pg_uuid_t *id) pg_attribute_noreturn();

#endif
