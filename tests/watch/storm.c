/* storm N: fork N children that end at once, eight at a time, and wait for them all. */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
    long left = argc > 1 ? atol(argv[1]) : 0;
    while (left > 0) {
        int batch = left < 8 ? (int)left : 8;
        for (int i = 0; i < batch; i++) {
            pid_t pid = fork();
            if (pid == 0)
                _exit(0);
            if (pid < 0)
                return 1;
        }
        for (int i = 0; i < batch; i++)
            if (wait(NULL) < 0)
                return 1;
        left -= batch;
    }
    return 0;
}
