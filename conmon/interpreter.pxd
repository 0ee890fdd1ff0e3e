"""CPython in the ELF, started the ordinary way: its core phase (`_init_main = 0`).

Frozen modules and those compiled in, no file of a Python installation, no site, no encodings, no
sys.stdout: less than half of the start-up of a whole one. Only the C API is used here, on raw
pointers: this runs before there is an interpreter.
"""

from libc.string cimport strlen

from conmon.core.kernel cimport write


cdef extern from "Python.h" nogil:
    ctypedef struct PyStatus:
        const char* err_msg
    enum:
        PYMEM_ALLOCATOR_MALLOC
    ctypedef struct PyPreConfig:
        int utf8_mode
        int configure_locale
        int allocator
    ctypedef struct PyConfig:
        int site_import
        int pathconfig_warnings
        int install_signal_handlers
        int write_bytecode
        int parse_argv
        int module_search_paths_set
        int use_hash_seed
        unsigned long hash_seed
        int _init_main
    struct _frozen:
        pass
    ctypedef struct CObject "PyObject":
        pass
    int PyStatus_Exception(PyStatus status)
    void PyPreConfig_InitIsolatedConfig(PyPreConfig* config)
    PyStatus Py_PreInitialize(const PyPreConfig* config)
    void PyConfig_InitIsolatedConfig(PyConfig* config)
    PyStatus Py_InitializeFromConfig(const PyConfig* config)
    int PyImport_AppendInittab(const char* name, CObject* (*init)())
    CObject* PyImport_ImportModule(const char* name)
    const _frozen* PyImport_FrozenModules
    void PyErr_Fetch(CObject** type, CObject** value, CObject** traceback)
    CObject* PyObject_Str(CObject* value)
    const char* PyUnicode_AsUTF8(CObject* text)

cdef extern from *:
    """
    #ifdef CONMON_STATIC_LIBPYTHON
    /* The modules compiled in. Naming them here keeps libpython's own table, and with it three
       quarters of the extension modules and their libraries, out of the ELF. */
    extern PyObject *PyMarshal_Init(void), *PyInit__imp(void), *_PyWarnings_Init(void);
    extern PyObject *PyInit_posix(void), *PyInit__thread(void), *PyInit__weakref(void);
    extern PyObject *PyInit__signal(void), *PyInit_errno(void);
    struct _inittab _PyImport_Inittab[] = {
        {"_imp", PyInit__imp}, {"_signal", PyInit__signal}, {"_thread", PyInit__thread},
        {"_warnings", _PyWarnings_Init}, {"_weakref", PyInit__weakref}, {"builtins", NULL},
        {"errno", PyInit_errno}, {"marshal", PyMarshal_Init}, {"posix", PyInit_posix},
        {"sys", NULL}, {NULL, NULL},
    };
    #endif
    """

cdef extern from "frozen.h" nogil:
    const _frozen conmon_frozen_modules[]

# _fastio.pyx
cdef extern CObject* PyInit__fastio() noexcept nogil


cdef inline bint start_interpreter(const char* module) noexcept nogil:
    """Bring CPython up and import a module; False, reported, if that cannot be."""
    global PyImport_FrozenModules
    cdef PyPreConfig before
    cdef PyConfig config
    cdef PyStatus status
    PyPreConfig_InitIsolatedConfig(&before)
    before.utf8_mode = 1
    before.configure_locale = 0
    before.allocator = PYMEM_ALLOCATOR_MALLOC  # an image needs all memory to come from malloc
    status = Py_PreInitialize(&before)
    if not PyStatus_Exception(status):
        PyImport_FrozenModules = conmon_frozen_modules
        PyImport_AppendInittab(b"conmon._fastio", PyInit__fastio)
        PyConfig_InitIsolatedConfig(&config)
        config.site_import = 0
        config.pathconfig_warnings = 0
        config.install_signal_handlers = 0
        config.write_bytecode = 0
        config.parse_argv = 0
        config.module_search_paths_set = 1
        config.use_hash_seed = 1  # saves reading random bytes; the dicts here hold our own names
        config.hash_seed = 0
        config._init_main = 0
        status = Py_InitializeFromConfig(&config)
    if not PyStatus_Exception(status) and PyImport_ImportModule(module) != NULL:
        return True
    say_failure(status.err_msg if status.err_msg != NULL else exception_text())
    return False


cdef inline const char* exception_text() noexcept nogil:
    """The text of the exception that is set, which is forgotten."""
    cdef CObject* type
    cdef CObject* value
    cdef CObject* traceback
    PyErr_Fetch(&type, &value, &traceback)
    return PyUnicode_AsUTF8(PyObject_Str(value))


cdef inline void say_failure(const char* reason) noexcept nogil:
    cdef const char* text = b"[conmon:e]: Failed to start the Python interpreter: "
    write(2, text, strlen(text))
    if reason != NULL:
        write(2, reason, strlen(reason))
    write(2, b"\n", 1)
