/* The parent that keeps the processes running, and one process. */
#ifndef BACKOFFICE_PROCESS_H
#define BACKOFFICE_PROCESS_H

#include "gateway/gateway.h"

/* Opens the port, forks, restarts, stops. Returns the exit code. */
extern int	process_parent(Gateway *gateway);

/* One process until it is told to stop. Returns its exit code. */
extern int	process_child(Gateway *gateway);

#endif
