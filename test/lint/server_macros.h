/*
 * What cppcheck has to know of PostgreSQL's macros, instead of its headers:
 * an ERROR does not return, a list is walked, a catch block is a branch.
 */
#define ERROR 21
#define FATAL 22
#define PANIC 23
#define ereport(level, ...) do { (void) (__VA_ARGS__); if ((level) >= ERROR) abort(); } while (0)
#define elog(level, ...) do { printf(__VA_ARGS__); if ((level) >= ERROR) abort(); } while (0)
#define PG_RE_THROW() abort()
#define PG_TRY() if (setjmp_result == 0) {
#define PG_CATCH() } else {
#define PG_FINALLY() } {
#define PG_END_TRY() }
#define foreach(cell, list) for (cell = list_head(list); cell != NULL; cell = lnext(list, cell))
#define foreach_delete_current(list, cell) list_delete_cell(list, cell)
#define forboth(cell1, list1, cell2, list2) \
	for (cell1 = list_head(list1), cell2 = list_head(list2); cell1 != NULL && cell2 != NULL; \
		 cell1 = lnext(list1, cell1), cell2 = lnext(list2, cell2))
#define PG_FUNCTION_INFO_V1(name) Datum name(FunctionCallInfo fcinfo)
#define PG_FUNCTION_ARGS FunctionCallInfo fcinfo
#define PG_MODULE_MAGIC
#define pg_attribute_printf(f, a)
#define pg_attribute_noreturn() __attribute__((noreturn))
#define PGDLLEXPORT
#define FLEXIBLE_ARRAY_MEMBER 1
#define UINT64CONST(x) (x##ULL)
#define INT64CONST(x) (x##LL)
#define CppAsString2(x) "x"
#define likely(x) (x)
#define unlikely(x) (x)
#define Assert(x) do { if (!(x)) abort(); } while (0)
