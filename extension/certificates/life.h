/*
 * life.h
 *		Steps that other files of this context take.
 */
#ifndef BACKOFFICE_LIFE_H
#define BACKOFFICE_LIFE_H

#include "certificates/certificate.h"

/* reserved -> issued, of a locked certificate; disclose: its code is shown now. */
extern void life_issue(const Certificate *certificate, const char *order_ref, const char *client_ref, bool disclose);

/* Error illegal_transition: "can't be <what>; it is <state>; <rule>". */
extern void certificate_refuse(const Certificate *certificate, const char *what, const char *rule) pg_attribute_noreturn();

extern void life_keeper_init(void);

#endif
