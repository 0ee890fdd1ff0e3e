/* In a build with sanitizers: where they report to. conmon's stderr is /dev/null in most of its
   lives, and the environment is the container's; so the options are in the program.

   UBSan traps, and it is ASan that reports that: gcc's library of UBSan knows only stderr where
   both are there. Leaks are not looked for: conmon ends with _exit. */
const char *__asan_default_options(void)
{
    return "log_path=" REPORTS "/report:exitcode=99:handle_sigill=1:detect_leaks=0";
}
