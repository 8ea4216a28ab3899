/*
 * redemptions.h
 *		Holds on certificates, for the keeper.
 */
#ifndef BACKOFFICE_REDEMPTIONS_H
#define BACKOFFICE_REDEMPTIONS_H

#include "certificates/certificate.h"

/*
 * Ends the holds of a locked certificate whose time is over; held_minor is
 * counted down in the struct only.  Returns how many there were.
 */
extern int	redemptions_expire_holds(Certificate *certificate);

#endif
