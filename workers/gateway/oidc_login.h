/* Log-in with a browser at an OpenID provider, and the provider's word that somebody logged out. docs/oidc.md */
#ifndef BACKOFFICE_OIDC_LOGIN_H
#define BACKOFFICE_OIDC_LOGIN_H

#include "gateway/request.h"

extern void oidc_login(Request *request);		/* GET /auth/oidc/{issuer}/login */
extern void oidc_callback(Request *request);	/* GET /auth/oidc/callback */
extern void oidc_logout(Request *request);		/* POST /auth/oidc/backchannel-logout */

#endif
