/* The floor: the least that a durable intake of these messages can do.
 *
 * One thread and epoll. A round reads every ready connection, finds where its batches end by their lengths, appends
 * them to a file that has its size already, flushes once with fdatasync, and acknowledges. It checks nothing.
 *
 * usage: floor FILE AGENCIES NUMBER; prints "port: N".
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_FD = 1024, BUFFER = 1 << 17, FILE_BYTES = 1 << 26, EVENTS = 64 };

struct peer {
    unsigned char *data;
    size_t length;
    int agency; /* it has asked for its winners; 0: not yet */
};

struct answer {
    int fd;
    unsigned char count;
};

static struct peer peers[MAX_FD];
static struct answer answers[MAX_FD * 64];
static unsigned char *book;
static size_t stored;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static size_t u16(const unsigned char *p) { return (size_t)p[0] << 8 | p[1]; }

/* The bytes of the batch at the start of a buffer; 0: it is not all there. */
static size_t batch_size(const unsigned char *data, size_t length) {
    size_t at = 2;
    for (int left = data[1]; left; left--) {
        if (at + 2 > length)
            return 0;
        at += 2 + u16(data + at);
    }
    return at <= length ? at : 0;
}

static void send_winners(int fd, int agency, unsigned number) {
    static unsigned char reply[2 + 8 * 65535];
    size_t found = 0;
    for (size_t at = 0; at < stored;) {
        int left = book[at + 1];
        for (at += 2; left; left--) {
            size_t end = at + 2 + u16(book + at);
            if (book[at + 2] == agency && u16(book + end - 2) == number && found < 65535)
                memcpy(reply + 2 + 8 * found++, book + end - 20, 8);
            at = end;
        }
    }
    reply[0] = (unsigned char)(found >> 8);
    reply[1] = (unsigned char)found;
    if (write(fd, reply, 2 + 8 * found) < 0)
        perror("write");
}

int main(int argc, char **argv) {
    if (argc != 4)
        return 2;
    int agencies = atoi(argv[2]), asked = 0, yes = 1, count;
    unsigned number = (unsigned)atoi(argv[3]);
    int file = open(argv[1], O_CREAT | O_TRUNC | O_RDWR, 0600);
    if (file < 0 || posix_fallocate(file, 0, FILE_BYTES) || fsync(file))
        die(argv[1]);
    if (!(book = malloc(FILE_BYTES)))
        die("malloc");
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) || listen(listener, EVENTS) ||
        getsockname(listener, (struct sockaddr *)&address, &size))
        die("listen");
    int loop = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS];
    epoll_ctl(loop, EPOLL_CTL_ADD, listener, &event);
    printf("port: %d\n", ntohs(address.sin_port));
    fflush(stdout);
    while ((count = epoll_wait(loop, events, EVENTS, -1)) >= 0) {
        size_t group = stored, due = 0;
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                int new = accept(listener, NULL, NULL);
                if (new < 0 || new >= MAX_FD)
                    die("accept");
                setsockopt(new, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
                peers[new] = (struct peer){.data = malloc(BUFFER)};
                event.data.fd = new;
                epoll_ctl(loop, EPOLL_CTL_ADD, new, &event);
                continue;
            }
            struct peer *peer = &peers[fd];
            ssize_t got = read(fd, peer->data + peer->length, BUFFER - peer->length);
            if (got <= 0) {
                close(fd);
                free(peer->data);
                continue;
            }
            peer->length += (size_t)got;
            size_t at = 0, bytes;
            while (peer->length - at >= 2) {
                unsigned char *frame = peer->data + at;
                if (frame[0] == 2) {
                    peer->agency = frame[1];
                    asked++;
                    at += 2;
                    continue;
                }
                if (frame[0] != 1 || stored + 8192 > FILE_BYTES) {
                    fprintf(stderr, "unknown message, or the file is full\n");
                    return 1;
                }
                if (!(bytes = batch_size(frame, peer->length - at)))
                    break;
                memcpy(book + stored, frame, bytes);
                stored += bytes;
                answers[due++] = (struct answer){fd, frame[1]};
                at += bytes;
            }
            memmove(peer->data, peer->data + at, peer->length -= at);
        }
        if (due && (pwrite(file, book + group, stored - group, (off_t)group) < 0 || fdatasync(file)))
            die("store");
        for (size_t i = 0; i < due; i++)
            if (write(answers[i].fd, &answers[i].count, 1) < 0)
                perror("write");
        if (asked == agencies) {
            asked = 0;
            for (int fd = 0; fd < MAX_FD; fd++)
                if (peers[fd].agency) {
                    send_winners(fd, peers[fd].agency, number);
                    peers[fd].agency = 0;
                }
        }
    }
    die("epoll_wait");
}
