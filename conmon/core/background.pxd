"""Going on in the background: a child goes on where this process was, which ends.

The child takes the memory over as it is (clone with CLONE_VM). After a fork both would have to
fault in again what they go on to read or write, which was a third of the page faults of a short
session. The process that was started leaves the stack to the child at once; on a little stack of
its own it waits for its exit status, and ends. Where that cannot be had it is a fork.
"""

cdef extern from *:
    """
    #include <errno.h>
    #include <sched.h>
    #include <signal.h>
    #include <sys/syscall.h>
    #include <unistd.h>

    /* What the process that ends stands on. Not in the image's section (tools/image.ld), which the
       child throws away as soon as it has no more use for its interpreter. */
    #define CONMON_LEAVER __attribute__((section(".conmon_leaver")))
    static struct {
        char stack[8192] __attribute__((aligned(16)));
        int gate[2];
        sigset_t mask;
    } conmon_leaver CONMON_LEAVER = {{0}};

    /* In the process that ends. Whatever libc has in memory is the child's by now: its errno, and
       the id of its thread, which the kernel would set to 0 at our end. So are AddressSanitizer's
       notes about the stack, in a build with both. */
    __attribute__((no_sanitize("address"))) static void conmon_leave(void)
    {
        char status = 1;
        syscall(SYS_set_tid_address, NULL);
        sigprocmask(SIG_SETMASK, &conmon_leaver.mask, NULL);
        close(conmon_leaver.gate[1]);
        while (read(conmon_leaver.gate[0], &status, 1) < 0 && errno == EINTR)
            ;
        _exit(status);
    }

    /* 0 in a child with the same memory, or -errno. The process itself goes on in conmon_leave:
       between the system call and the change to the other stack it puts nothing on this one. */
    #if defined(__x86_64__) && !defined(CONMON_NO_CLONE)
    static long conmon_share_with_child(char *stack)
    {
        long result;
        register long r10 __asm__("r10") = 0;
        register long r8 __asm__("r8") = 0;
        long shadow_stack = 0;
        __asm__ volatile("rdsspq %0" : "+r"(shadow_stack)); /* nothing where there is none */
        if (shadow_stack)
            return -ENOSYS; /* the child would begin with an empty one */
        __asm__ volatile(
            "syscall\\n\\ttest %%rax, %%rax\\n\\tjle 1f\\n\\t"
            "mov %[stack], %%rsp\\n\\tcall *%[leave]\\n1:"
            : "=a"(result)
            : "a"((long)SYS_clone), "D"((long)(CLONE_VM | SIGCHLD)), "S"(0L), "d"(0L), "r"(r10),
              "r"(r8), [stack] "r"(stack), [leave] "r"(conmon_leave)
            : "rcx", "r11", "cc", "memory");
        return result;
    }
    #elif defined(__aarch64__) && !defined(CONMON_NO_CLONE)
    static long conmon_share_with_child(char *stack)
    {
        register long x8 __asm__("x8") = SYS_clone;
        register long x0 __asm__("x0") = CLONE_VM | SIGCHLD;
        register long x1 __asm__("x1") = 0;
        register long x2 __asm__("x2") = 0;
        register long x3 __asm__("x3") = 0;
        register long x4 __asm__("x4") = 0;
        __asm__ volatile(
            "svc #0\\n\\tcmp x0, #0\\n\\tb.le 1f\\n\\t"
            "mov sp, %[stack]\\n\\tblr %[leave]\\n1:"
            : "+r"(x0)
            : "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x8), [stack] "r"(stack),
              [leave] "r"(conmon_leave)
            : "x30", "cc", "memory");
        return x0;
    }
    #else
    static long conmon_share_with_child(char *stack)
    {
        (void)stack;
        return -ENOSYS;
    }
    #endif

    static int conmon_go_on_in_child(int gate_read, int gate_write)
    {
        sigset_t all;
        long child;
        int failure = 0;
        conmon_leaver.gate[0] = gate_read;
        conmon_leaver.gate[1] = gate_write;
        sigfillset(&all); /* a handler would run on the stack that is the child's */
        sigprocmask(SIG_SETMASK, &all, &conmon_leaver.mask);
        child = conmon_share_with_child(conmon_leaver.stack + sizeof conmon_leaver.stack);
        if (child < 0) { /* -Dclone=false, another machine, or a filter of system calls */
            child = fork();
            failure = child < 0 ? -errno : 0;
        }
        if (child > 0)
            conmon_leave();
        sigprocmask(SIG_SETMASK, &conmon_leaver.mask, NULL);
        return failure;
    }
    """
    int conmon_go_on_in_child(int gate_read, int gate_write) nogil


cdef inline int go_on_in_child(int gate_read, int gate_write) noexcept nogil:
    """0 in the child; -errno, and no child.

    This process ends with the status, a byte, that comes through the gate, 1 if none comes.
    """
    return conmon_go_on_in_child(gate_read, gate_write)
