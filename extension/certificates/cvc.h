/*
 * cvc.h
 *		Codes and CVCs shown and checked.
 */
#ifndef BACKOFFICE_CVC_H
#define BACKOFFICE_CVC_H

#include "core/core.h"

/*
 * The certificate with this code and CVC: false when there is none, in the
 * same time whatever is wrong.  Counts failures; error throttled (PT429).
 * The caller has checked permission.
 */
extern bool certificates_check(const char *code, const char *cvc, pg_uuid_t *id);

/*
 * notification.requested for a certificate that was sold: from then on the CRM
 * may ask for the CVC.  Runs as the kernel: the caller has checked permission.
 * Error: certificate_not_found, not_issued (PT409).
 */
extern void certificates_request_notification(const pg_uuid_t *organization, const pg_uuid_t *id);

#endif
