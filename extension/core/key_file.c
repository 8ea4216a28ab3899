/*
 * key_file.c
 *		The key file of a server on which nobody named one.
 *
 * A server on which nobody named a key file makes one with a random key in
 * its data directory when the first secret is to be stored.  A file that the
 * administrator named is never made, nor one on a standby, nor when a stored
 * secret already asks for a key: a new key would only hide that the old one
 * is gone.  Ids are random, so that no second file can pass for the first.
 */
#include "core/keys.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/fd.h"

#define KEY_FILE_SECRET_BYTES 32

static void
could_not_make(const char *temporary)
{
	int			saved_errno = errno;

	(void) unlink(temporary);
	errno = saved_errno;
	ereport(ERROR,
			(errcode(ERRCODE_CONFIG_FILE_ERROR),
			 errmsg("could not make a key file: %m"),
			 bo_code("key_file_missing", "no key file is configured, and %s cannot be written in the data directory", KEY_FILE_DEFAULT),
			 errhint("Write a line \"<id> <64 hex digits>\" into a file that only the server's user may read, name it in backoffice.key_file and reload.")));
}

static void
put_hex(char *to, const uint8 *bytes, int count)
{
	for (int i = 0; i < count; i++)
	{
		*to++ = "0123456789abcdef"[bytes[i] >> 4];
		*to++ = "0123456789abcdef"[bytes[i] & 15];
	}
}

/* "auto-<8 hex digits> <64 hex digits>" and a line end */
static int
random_line(char *line)
{
	uint8		random[4 + KEY_FILE_SECRET_BYTES];

	crypto_random(random, sizeof(random));
	memcpy(line, "auto-", 5);
	put_hex(line + 5, random, 4);
	line[13] = ' ';
	put_hex(line + 14, random + 4, KEY_FILE_SECRET_BYTES);
	line[14 + 2 * KEY_FILE_SECRET_BYTES] = '\n';
	explicit_bzero(random, sizeof(random));
	return 15 + 2 * KEY_FILE_SECRET_BYTES;
}

/*
 * Writes the default file, whole and durable before anybody can see it under
 * its name.  Two backends may try at once: link() lets one of them win.
 */
static void
make_file(void)
{
	char		temporary[MAXPGPATH];
	char		line[128];
	int			length;
	int			fd;
	bool		written;

	snprintf(temporary, sizeof(temporary), "%s.%d.tmp", KEY_FILE_DEFAULT, MyProcPid);
	(void) unlink(temporary);
	length = random_line(line);
	fd = OpenTransientFilePerm(temporary, O_WRONLY | O_CREAT | O_EXCL | PG_BINARY, S_IRUSR | S_IWUSR);
	if (fd < 0)
		could_not_make(temporary);
	written = write(fd, line, length) == length && pg_fsync(fd) == 0;
	explicit_bzero(line, sizeof(line));
	if (CloseTransientFile(fd) != 0 || !written)
		could_not_make(temporary);
	if (link(temporary, KEY_FILE_DEFAULT) != 0)
	{
		if (errno != EEXIST)
			could_not_make(temporary);
		(void) unlink(temporary);
		return;
	}
	(void) unlink(temporary);
	fsync_fname(".", true);
	ereport(WARNING,
			(errmsg("made a key file for stored secrets: %s/%s", DataDir, KEY_FILE_DEFAULT),
			 errdetail("No key file was configured. Without this file no stored code or CVC can be read or found again."),
			 errhint("Keep a copy of it apart from the database's backups; better, move it out of the data directory and name it in backoffice.key_file.")));
}

void
key_file_make_default(const char *configured)
{
	if (strcmp(configured, KEY_FILE_DEFAULT) == 0 && !RecoveryInProgress() &&
		access(KEY_FILE_DEFAULT, F_OK) != 0 && errno == ENOENT)
		make_file();
}
