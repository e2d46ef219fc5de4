// What a broker's descriptors lead to, and the epoll that watches them: level-triggered, and
// the lowest free number first, as the kernel's are (so that stale events and numbers that
// are used again can be found out).
#pragma once

#include <sys/epoll.h>

#include "net.h"

struct process;

enum file_kind { FILE_EPOLL, FILE_EVENT, FILE_LISTENER, FILE_SOCKET, FILE_NULL };

struct file {
    enum file_kind kind;
    struct process *process;
    int fd;
    // As it is watched, by one epoll at most.
    struct file *epoll;
    struct list in_ready; // of the epoll, while it may have something to say
    uint32_t interest;
    void *data;
    // One of:
    struct list ready;        // FILE_EPOLL
    uint64_t count;           // FILE_EVENT
    struct end *end;          // FILE_SOCKET; NULL: not connected yet
    int port;                 // FILE_SOCKET, FILE_LISTENER: bound to
    int64_t user_timeout_us;  // is inherited by what a listener accepts
    struct acceptor acceptor; // FILE_LISTENER
    struct list accepted;     // its files that nobody has taken yet
    struct list in_accepted;
};

struct file *file_new(struct process *p, enum file_kind kind); // with a number; NULL: EMFILE
struct file *file_of(int fd); // of the process that runs; NULL: EBADF
void file_close(struct file *f);
bool file_listen(struct file *f); // false: the port is taken
int file_accept(struct file *f);  // a descriptor, or -1 with errno

uint32_t file_events(const struct file *f); // what epoll would say of it
void file_changed(struct file *f);          // the epoll looks at it again
void file_attach(struct file *f, struct end *e);

bool epoll_has_events(struct file *epoll);
int epoll_collect(struct file *epoll, struct epoll_event *events, int most);
