/* Sixteen threads that connect, send, compare what comes back, and close: client SECONDS. Prints how many
 * echoes were right and how many wrong. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define THREADS 16

static volatile int stop;
static long right, wrong, refused;

/* One echo. False when the connection is at its end. */
static int round_trip(int fd, unsigned *seed)
{
    char out[3000], in[3000];
    int n = 1 + rand_r(seed) % (int)sizeof out;
    for (int i = 0; i < n; i++)
        out[i] = rand_r(seed);
    if (send(fd, out, n, MSG_NOSIGNAL) != n || recv(fd, in, n, MSG_WAITALL) != n)
        return 0;
    __sync_fetch_and_add(memcmp(in, out, n) ? &wrong : &right, 1);
    return 1;
}

static void *go(void *number)
{
    unsigned seed = (long)number;
    struct sockaddr_in server = { AF_INET, htons(9200), { 0 }, { 0 } };
    struct timeval limit = { 2, 0 };
    inet_pton(AF_INET, "10.77.0.1", &server.sin_addr);
    while (!stop) {
        int fd = socket(AF_INET, SOCK_STREAM, 0), rounds = rand_r(&seed) % 40;
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        if (connect(fd, (void *)&server, sizeof server))
            __sync_fetch_and_add(&refused, 1);
        else
            while (rounds-- && !stop && round_trip(fd, &seed))
                ;
        close(fd);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    (void)argc;
    for (long i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, go, (void *)(i + 7));
    sleep(atoi(argv[1]));
    stop = 1;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    printf("%ld %ld %ld\n", right, wrong, refused);
    return 0;
}
