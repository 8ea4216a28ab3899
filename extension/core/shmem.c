/*
 * shmem.c
 *		Shared structs of all contexts, behind one pair of hooks.
 */
#include "core/core.h"

#include "core/settings.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#define MAX_STRUCTS 16
#define TRANCHE "backoffice"

typedef struct SharedStruct
{
	const char *name;
	Size		(*size) (void);
	void	  **address;
	void		(*init) (void *address);
	LWLock	  **lock;
} SharedStruct;

static SharedStruct structs[MAX_STRUCTS];
static int	nstructs = 0;
static shmem_request_hook_type prev_request;
static shmem_startup_hook_type prev_startup;

void
bo_shmem_register(const char *name, Size (*size) (void), void **address,
				  void (*init) (void *address), LWLock **lock)
{
	if (nstructs == MAX_STRUCTS)
		elog(ERROR, "too many shared structs");
	structs[nstructs++] = (SharedStruct) {name, size, address, init, lock};
}

static void
request(void)
{
	if (prev_request)
		prev_request();
	for (int i = 0; i < nstructs; i++)
		RequestAddinShmemSpace(structs[i].size());
	RequestNamedLWLockTranche(TRANCHE, MAX_STRUCTS);
}

static void
startup(void)
{
	LWLockPadded *locks;

	if (prev_startup)
		prev_startup();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	locks = GetNamedLWLockTranche(TRANCHE);
	for (int i = 0; i < nstructs; i++)
	{
		bool		found;
		Size		size = structs[i].size();

		*structs[i].address = ShmemInitStruct(structs[i].name, size, &found);
		if (!found)
		{
			MemSet(*structs[i].address, 0, size);
			if (structs[i].init != NULL)
				structs[i].init(*structs[i].address);
		}
		if (structs[i].lock)
			*structs[i].lock = &locks[i].lock;
	}
	LWLockRelease(AddinShmemInitLock);
}

void
shmem_init(void)
{
	prev_request = shmem_request_hook;
	shmem_request_hook = request;
	prev_startup = shmem_startup_hook;
	shmem_startup_hook = startup;
}
