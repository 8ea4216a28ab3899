/*
 * compat.h
 *		What later majors than PostgreSQL 15 call otherwise: the rest of the sources has 15's names.
 *
 * docs/majors.md says which majors were built and tested.
 */
#ifndef BACKOFFICE_COMPAT_H
#define BACKOFFICE_COMPAT_H

#include "postgres.h"

#if PG_VERSION_NUM >= 160000
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "utils/acl.h"
#include "utils/guc.h"

#define pg_namespace_aclcheck(id, role, mode) object_aclcheck(NamespaceRelationId, id, role, mode)
#define pg_proc_aclcheck(id, role, mode) object_aclcheck(ProcedureRelationId, id, role, mode)
#define pg_class_ownercheck(id, role) object_ownercheck(RelationRelationId, id, role)
#define pg_database_ownercheck(id, role) object_ownercheck(DatabaseRelationId, id, role)
#define pg_extension_ownercheck(id, role) object_ownercheck(ExtensionRelationId, id, role)
#endif

#if PG_VERSION_NUM >= 170000
#define bo_proc_number(proc) GetNumberFromPGProc(proc)
#else
#define bo_proc_number(proc) ((proc)->pgprocno)
#endif

#if PG_VERSION_NUM >= 160000
#define bo_guc_malloc(size) guc_malloc(LOG, size)
#else
#define bo_guc_malloc(size) malloc(size)
#endif

#if PG_VERSION_NUM >= 180000
#include "access/genam.h"

#define index_beginscan(rel, index, snapshot, nkeys, norderbys) index_beginscan(rel, index, snapshot, NULL, nkeys, norderbys)
#define pg_attribute_noreturn() __attribute__((noreturn))
#else
#include "access/tupdesc.h"

typedef FormData_pg_attribute CompactAttribute;
#define TupleDescCompactAttr(desc, i) TupleDescAttr(desc, i)
#endif

#endif
