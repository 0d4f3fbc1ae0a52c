// SPDX-License-Identifier: GPL-2.0
/*
 * Make the socket, or take the one that was handed down. Who may connect is
 * what its permissions say: at first the daemon's own user alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <pwd.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "listen.h"
#include "log.h"
#include "peer.h"
#include "stats.h"

/* Front-ends that may wait for the one there is to leave. */
#define BACKLOG		4

/* What cannot be accepted just now is not tried again for so long, ns. */
#define REST_NS		1000000000ULL

/*
 * Whether somebody else listens there; a socket nobody listens at is removed. Where no
 * socket is to be had nobody knows, and who binds one is told.
 */
static bool in_use(const struct sockaddr_un *addr)
{
	struct stat st;
	bool used;
	int sock;

	if (lstat(addr->sun_path, &st))
		return false;
	sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return false;
	used = !S_ISSOCK(st.st_mode) ||
	       !connect(sock, (const struct sockaddr *)addr, sizeof(*addr)) ||
	       errno != ECONNREFUSED;
	close(sock);
	if (!used)
		unlink(addr->sun_path);
	return used;
}

/* It is removed by this in the end, whatever becomes of the way to it. */
static int open_folder(const char *path)
{
	char copy[PATH_MAX];

	if (strlen(path) >= sizeof(copy))
		return -1;
	strcpy(copy, path);
	return open(dirname(copy), O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static const char *name_of(const struct listener *l)
{
	const char *slash = strrchr(l->path, '/');

	return slash ? slash + 1 : l->path;
}

/* Whose it shall be. Return: false if there is no such user or group. */
static bool owners(const struct listener *l, uid_t *uid, gid_t *gid)
{
	struct passwd *user = NULL;
	struct group *group = NULL;

	errno = 0;
	if (l->user)
		user = getpwnam(l->user);
	if (l->user && !user) {
		say("--user %s: %s", l->user,
		    errno ? strerror(errno) : "there is no such user");
		return false;
	}
	if (l->group)
		group = getgrnam(l->group);
	if (l->group && !group) {
		say("--socket-group %s: %s", l->group,
		    errno ? strerror(errno) : "there is no such group");
		return false;
	}
	*uid = user ? user->pw_uid : (uid_t)-1;
	*gid = group ? group->gr_gid : (gid_t)-1;
	return true;
}

/* By folder and name, and never through a link that lies there by now. */
static bool hand_over(const struct listener *l, uid_t uid, gid_t gid)
{
	if (uid == (uid_t)-1 && gid == (gid_t)-1)
		return true;
	if (!fchownat(l->folder, name_of(l), uid, gid, AT_SYMLINK_NOFOLLOW))
		return true;
	say("cannot give %s to whom it shall belong: %s", l->path,
	    strerror(errno));
	return false;
}

static bool bind_with(const struct listener *l, const struct sockaddr_un *addr)
{
	mode_t mask = umask(0777 & ~l->mode);
	bool ok = !bind(l->fd, (const struct sockaddr *)addr, sizeof(*addr));

	umask(mask);
	return ok;
}

static bool make(struct listener *l)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	uid_t uid;
	gid_t gid;

	if (strlen(l->path) >= sizeof(addr.sun_path)) {
		say("%s: a socket's path has at most %zu bytes", l->path,
		    sizeof(addr.sun_path) - 1);
		return false;
	}
	strcpy(addr.sun_path, l->path);
	if (!owners(l, &uid, &gid))
		return false;
	if (in_use(&addr)) {
		say("%s is in use by somebody else", l->path);
		return false;
	}
	l->folder = open_folder(l->path);
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0 || !bind_with(l, &addr)) {
		say("cannot listen at %s: %s", l->path, strerror(errno));
		return false;
	}
	/* Nobody can connect before it listens. */
	if (hand_over(l, uid, gid)) {
		if (!listen(l->fd, BACKLOG))
			return true;
		say("cannot listen at %s: %s", l->path, strerror(errno));
	}
	unlinkat(l->folder, name_of(l), 0);
	return false;
}

/* One that was handed down may be a listener, as systemd's, or connected. */
static bool take(struct listener *l)
{
	int listens = 0, domain = 0, kind = 0;
	socklen_t size = sizeof(int);
	int flags = fcntl(l->fd, F_GETFL);

	if (flags < 0 ||
	    getsockopt(l->fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) ||
	    getsockopt(l->fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) ||
	    getsockopt(l->fd, SOL_SOCKET, SO_TYPE, &kind, &size) ||
	    domain != AF_UNIX || kind != SOCK_STREAM) {
		say("--fd %d: that is no socket of a front-end", l->fd);
		return false;
	}
	l->connected = !listens;
	fcntl(l->fd, F_SETFL, flags | O_NONBLOCK);
	fcntl(l->fd, F_SETFD, FD_CLOEXEC);
	return true;
}

/**
 * listener_open - have a socket
 * @l: with the members up to @anybody set
 *
 * Return: false if there can be none; the reason is told.
 */
bool listener_open(struct listener *l)
{
	l->folder = -1;
	l->connected = false;
	l->rests_ns = 0;
	return l->path ? make(l) : take(l);
}

/**
 * listener_accept - take the next connection
 * @l: the socket
 *
 * Never waits.
 *
 * Return: the connection, or -1 if there is none; what is odd is told.
 */
int listener_accept(struct listener *l)
{
	int sock;

	if (l->connected)
		return l->fd;
	sock = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (sock < 0) {
		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return -1;
		say("cannot accept a connection: %s; tried again in a second",
		    strerror(errno));
		l->rests_ns = now_ns() + REST_NS;
		return -1;
	}
	if (peer_may_connect(sock, l->anybody))
		return sock;
	say("refused a connection of another user at %s; a front-end's is allowed by --socket-group or --socket-mode",
	    listener_name(l));
	close(sock);
	return -1;
}

/**
 * listener_fd - what to wait for
 * @l: the socket
 *
 * Return: the descriptor, or -1 while it rests after an error.
 */
int listener_fd(const struct listener *l)
{
	return now_ns() < l->rests_ns ? -1 : l->fd;
}

/**
 * listener_until_ns - when to wait for it again
 * @l: the socket
 *
 * Return: the time, ns, or NEVER_NS if it does not rest.
 */
uint64_t listener_until_ns(const struct listener *l)
{
	return now_ns() < l->rests_ns ? l->rests_ns : NEVER_NS;
}

/**
 * listener_close - close the socket, and remove the one that was made
 * @l: the socket
 */
void listener_close(struct listener *l)
{
	if (!l->connected)
		close(l->fd);
	/* Where that is not allowed any more, the next daemon replaces it. */
	if (l->path && unlinkat(l->folder, name_of(l), 0))
		return;
}

/**
 * listener_name - how to call it
 * @l: the socket
 *
 * Return: its path, or words.
 */
const char *listener_name(const struct listener *l)
{
	return l->path ? l->path : "the socket handed down";
}
