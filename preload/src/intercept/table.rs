//! The table: one row a libc symbol, no policy.
//!
//! A row reads `KIND name(arguments) -> result = SYSCALL => dispatch function`. The kind says which calls
//! are looked at: `fd` those whose first argument is a descriptor of ours, `pair` those whose first or second
//! is, `any` all, `raw` those with the number of a system call that is in the table, `rights` and `gives` as `fd`, and what
//! libc has received of others, or is about to send on others, may hold descriptors. The exported symbol, libc's
//! own function behind it (`real`), what `syscall` answers (`number`) and the tests come from the row.

macro_rules! for_each_call {
    ($with:ident) => {
        $with! {
            any socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int
                = SYS_socket => lifecycle::socket;
            fd close(fd: c_int) -> c_int = SYS_close => lifecycle::close;
            raw syscall(number: c_long, a: c_long, b: c_long, c: c_long, d: c_long, e: c_long, f: c_long) -> c_long
                = NONE => number::syscall;
            fd dup(fd: c_int) -> c_int = SYS_dup => lifecycle::dup;
            pair dup2(old: c_int, new: c_int) -> c_int = NONE => lifecycle::dup2;
            pair dup3(old: c_int, new: c_int, flags: c_int) -> c_int = SYS_dup3 => lifecycle::dup3;
            any close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int
                = SYS_close_range => lifecycle::close_range;
            any closefrom(first: c_int) -> () = NONE => lifecycle::closefrom;

            fd bind(fd: c_int, name: *const sockaddr, len: socklen_t) -> c_int = SYS_bind => names::bind;
            fd getsockname(fd: c_int, name: *mut sockaddr, len: *mut socklen_t) -> c_int
                = SYS_getsockname => names::getsockname;
            fd getpeername(fd: c_int, name: *mut sockaddr, len: *mut socklen_t) -> c_int
                = SYS_getpeername => names::getpeername;
            fd connect(fd: c_int, name: *const sockaddr, len: socklen_t) -> c_int
                = SYS_connect => connect::connect;
            fd listen(fd: c_int, backlog: c_int) -> c_int = SYS_listen => listen::listen;
            fd accept(fd: c_int, name: *mut sockaddr, len: *mut socklen_t) -> c_int
                = SYS_accept => listen::accept;
            fd accept4(fd: c_int, name: *mut sockaddr, len: *mut socklen_t, flags: c_int) -> c_int
                = SYS_accept4 => listen::accept4;
            fd shutdown(fd: c_int, how: c_int) -> c_int = SYS_shutdown => names::shutdown;
            fd getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, len: *mut socklen_t) -> c_int
                = SYS_getsockopt => options::getsockopt;
            fd setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, len: socklen_t) -> c_int
                = SYS_setsockopt => options::setsockopt;

            fd read(fd: c_int, to: *mut c_void, len: size_t) -> ssize_t = SYS_read => recv::read;
            fd __read_chk(fd: c_int, to: *mut c_void, len: size_t, room: size_t) -> ssize_t
                = NONE => recv::read_chk;
            fd readv(fd: c_int, to: *const iovec, count: c_int) -> ssize_t = SYS_readv => recv::readv;
            fd preadv2(fd: c_int, to: *const iovec, count: c_int, at: off_t, flags: c_int) -> ssize_t
                = NONE => recv::preadv2;
            fd preadv64v2(fd: c_int, to: *const iovec, count: c_int, at: off_t, flags: c_int) -> ssize_t
                = NONE => recv::preadv2;
            fd recv(fd: c_int, to: *mut c_void, len: size_t, flags: c_int) -> ssize_t = NONE => recv::recv;
            fd __recv_chk(fd: c_int, to: *mut c_void, len: size_t, room: size_t, flags: c_int) -> ssize_t
                = NONE => recv::recv_chk;
            fd recvfrom(fd: c_int, to: *mut c_void, len: size_t, flags: c_int,
                name: *mut sockaddr, name_len: *mut socklen_t) -> ssize_t = SYS_recvfrom => recv::recvfrom;
            fd __recvfrom_chk(fd: c_int, to: *mut c_void, len: size_t, room: size_t, flags: c_int,
                name: *mut sockaddr, name_len: *mut socklen_t) -> ssize_t = NONE => recv::recvfrom_chk;
            rights recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t
                = SYS_recvmsg => messages::recvmsg;
            rights recvmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int,
                timeout: *mut timespec) -> c_int = SYS_recvmmsg => messages::recvmmsg;

            fd write(fd: c_int, from: *const c_void, len: size_t) -> ssize_t = SYS_write => send::write;
            fd writev(fd: c_int, from: *const iovec, count: c_int) -> ssize_t = SYS_writev => send::writev;
            fd pwritev2(fd: c_int, from: *const iovec, count: c_int, at: off_t, flags: c_int) -> ssize_t
                = NONE => send::pwritev2;
            fd pwritev64v2(fd: c_int, from: *const iovec, count: c_int, at: off_t, flags: c_int) -> ssize_t
                = NONE => send::pwritev2;
            fd send(fd: c_int, from: *const c_void, len: size_t, flags: c_int) -> ssize_t
                = NONE => send::send;
            fd sendto(fd: c_int, from: *const c_void, len: size_t, flags: c_int,
                name: *const sockaddr, name_len: socklen_t) -> ssize_t = SYS_sendto => send::sendto;
            gives sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t
                = SYS_sendmsg => messages::sendmsg;
            gives sendmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int
                = SYS_sendmmsg => messages::sendmmsg;
            pair sendfile(to: c_int, from: c_int, at: *mut off_t, len: size_t) -> ssize_t
                = SYS_sendfile => sendfile::sendfile;
            pair sendfile64(to: c_int, from: c_int, at: *mut off_t, len: size_t) -> ssize_t
                = SYS_sendfile => sendfile::sendfile;
            any splice(from: c_int, at: *mut off_t, to: c_int, to_at: *mut off_t, len: size_t,
                flags: c_uint) -> ssize_t = SYS_splice => splice::splice;

            fd fdopen(fd: c_int, mode: *const c_char) -> *mut FILE = NONE => stdio::fdopen;
            fd vdprintf(fd: c_int, format: *const c_char, args: *mut c_void) -> c_int
                = NONE => stdio::vdprintf;
            fd __vdprintf_chk(fd: c_int, level: c_int, format: *const c_char, args: *mut c_void) -> c_int
                = NONE => stdio::vdprintf_chk;

            fd fcntl(fd: c_int, command: c_int, argument: usize) -> c_int = SYS_fcntl => control::fcntl;
            fd fcntl64(fd: c_int, command: c_int, argument: usize) -> c_int = SYS_fcntl => control::fcntl;
            fd sockatmark(fd: c_int) -> c_int = NONE => control::sockatmark;
            fd fstat(fd: c_int, about: *mut c_void) -> c_int = SYS_fstat => control::fstat;
            fd fstat64(fd: c_int, about: *mut c_void) -> c_int = NONE => control::fstat;
            fd fstatat(fd: c_int, path: *const c_char, about: *mut c_void, flags: c_int) -> c_int
                = SYS_newfstatat => control::fstatat;
            fd fstatat64(fd: c_int, path: *const c_char, about: *mut c_void, flags: c_int) -> c_int
                = NONE => control::fstatat;
            fd statx(fd: c_int, path: *const c_char, flags: c_int, mask: c_uint, about: *mut c_void) -> c_int
                = SYS_statx => control::statx;
            fd ioctl(fd: c_int, request: c_ulong, argument: usize) -> c_int = SYS_ioctl => control::ioctl;

            any poll(fds: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int = NONE => poll::poll;
            any __poll_chk(fds: *mut pollfd, count: nfds_t, timeout: c_int, room: size_t) -> c_int
                = NONE => poll::poll_chk;
            any ppoll(fds: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t) -> c_int
                = NONE => poll::ppoll;
            any __ppoll_chk(fds: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t,
                room: size_t) -> c_int = NONE => poll::ppoll_chk;
            any select(count: c_int, read: *mut fd_set, write: *mut fd_set, except: *mut fd_set,
                timeout: *mut timeval) -> c_int = NONE => select::select;
            any pselect(count: c_int, read: *mut fd_set, write: *mut fd_set, except: *mut fd_set,
                timeout: *const timespec, mask: *const sigset_t) -> c_int = NONE => select::pselect;

            any epoll_create(size: c_int) -> c_int = NONE => epoll::create;
            any epoll_create1(flags: c_int) -> c_int = SYS_epoll_create1 => epoll::create1;
            fd epoll_ctl(set: c_int, operation: c_int, fd: c_int, event: *mut epoll_event) -> c_int
                = SYS_epoll_ctl => epoll::ctl;
            fd epoll_wait(set: c_int, events: *mut epoll_event, max: c_int, timeout: c_int) -> c_int
                = NONE => epoll::wait;
            fd epoll_pwait(set: c_int, events: *mut epoll_event, max: c_int, timeout: c_int,
                mask: *const sigset_t) -> c_int = NONE => epoll::pwait;
            fd epoll_pwait2(set: c_int, events: *mut epoll_event, max: c_int, timeout: *const timespec,
                mask: *const sigset_t) -> c_int = NONE => epoll::pwait2;

            any execve(path: *const c_char, args: *const *const c_char, env: *const *const c_char) -> c_int
                = SYS_execve => exec::execve;
            any execv(path: *const c_char, args: *const *const c_char) -> c_int = NONE => exec::execv;
            any execvp(file: *const c_char, args: *const *const c_char) -> c_int = NONE => exec::execvp;
            any execvpe(file: *const c_char, args: *const *const c_char, env: *const *const c_char) -> c_int
                = NONE => exec::execvpe;
            any fexecve(fd: c_int, args: *const *const c_char, env: *const *const c_char) -> c_int
                = NONE => exec::fexecve;
            any execveat(folder: c_int, path: *const c_char, args: *const *const c_char,
                env: *const *const c_char, flags: c_int) -> c_int = SYS_execveat => exec::execveat;

            any clone(run: *mut c_void, stack: *mut c_void, flags: c_int, argument: *mut c_void, parents: *mut c_void,
                tls: *mut c_void, childs: *mut c_void) -> c_int = NONE => fork::clone;

            any posix_spawn(pid: *mut pid_t, path: *const c_char, actions: *const c_void,
                attributes: *const c_void, args: *const *const c_char, env: *const *const c_char) -> c_int
                = NONE => spawn::posix_spawn;
            any posix_spawnp(pid: *mut pid_t, file: *const c_char, actions: *const c_void,
                attributes: *const c_void, args: *const *const c_char, env: *const *const c_char) -> c_int
                = NONE => spawn::posix_spawnp;
            any posix_spawn_file_actions_init(actions: *mut c_void) -> c_int = NONE => spawn::init;
            any posix_spawn_file_actions_destroy(actions: *mut c_void) -> c_int = NONE => spawn::destroy;
            any posix_spawn_file_actions_adddup2(actions: *mut c_void, old: c_int, new: c_int) -> c_int
                = NONE => spawn::adddup2;
            any system(command: *const c_char) -> c_int = NONE => spawn::system;
            any popen(command: *const c_char, mode: *const c_char) -> *mut FILE = NONE => spawn::popen;

            any prctl(option: c_int, a: c_ulong, b: c_ulong, c: c_ulong, d: c_ulong) -> c_int
                = SYS_prctl => sandbox::prctl;
            any capset(header: *mut c_void, sets: *const c_void) -> c_int = SYS_capset => likeness::capset;
            any setrlimit(resource: c_uint, limit: *const rlimit) -> c_int = SYS_setrlimit => sandbox::setrlimit;
            any setrlimit64(resource: c_uint, limit: *const rlimit) -> c_int = NONE => sandbox::setrlimit;
            any prlimit(process: pid_t, resource: c_uint, new: *const rlimit, old: *mut rlimit) -> c_int
                = SYS_prlimit64 => sandbox::prlimit;
            any prlimit64(process: pid_t, resource: c_uint, new: *const rlimit, old: *mut rlimit) -> c_int
                = NONE => sandbox::prlimit;

            any pthread_cancel(thread: pthread_t) -> c_int = NONE => cancel::pthread_cancel;

            any sigaction(signal: c_int, new: *const c_void, old: *mut c_void) -> c_int
                = NONE => signals::sigaction;
            any signal(signal: c_int, handler: usize) -> usize = NONE => signals::signal;
            any bsd_signal(signal: c_int, handler: usize) -> usize = NONE => signals::signal;
            any ssignal(signal: c_int, handler: usize) -> usize = NONE => signals::signal;
            any sysv_signal(signal: c_int, handler: usize) -> usize = NONE => signals::sysv_signal;
            any __sysv_signal(signal: c_int, handler: usize) -> usize = NONE => signals::sysv_signal;
            any sigset(signal: c_int, handler: usize) -> usize = NONE => signals::sigset;
            any siginterrupt(signal: c_int, interrupt: c_int) -> c_int = NONE => signals::siginterrupt;

            fd __close(fd: c_int) -> c_int = NONE => lifecycle::close;
            pair __dup2(old: c_int, new: c_int) -> c_int = NONE => lifecycle::dup2;
            fd __connect(fd: c_int, name: *const sockaddr, len: socklen_t) -> c_int = NONE => connect::connect;
            fd __read(fd: c_int, to: *mut c_void, len: size_t) -> ssize_t = NONE => recv::read;
            fd __write(fd: c_int, from: *const c_void, len: size_t) -> ssize_t = NONE => send::write;
            fd __send(fd: c_int, from: *const c_void, len: size_t, flags: c_int) -> ssize_t
                = NONE => send::send;
            fd __fcntl(fd: c_int, command: c_int, argument: usize) -> c_int = NONE => control::fcntl;
            any __poll(fds: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int = NONE => poll::poll;
            any __select(count: c_int, read: *mut fd_set, write: *mut fd_set, except: *mut fd_set,
                timeout: *mut timeval) -> c_int = NONE => select::select;
        }
    };
}

pub(crate) use for_each_call;
