//! Which driver serves: the names of `--driver`, and what `auto` chooses and why.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::mpsc;
use std::time::Duration;

use super::Driver;

/// A driver that can serve a site, compiled in or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// monoio on io_uring.
    Monoio,
    /// Our own loop on io_uring.
    Ring,
    /// tokio-uring.
    TokioUring,
    /// monoio on epoll.
    Epoll,
}

/// What `--driver` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The best that passes its self-test on this machine.
    #[default]
    Auto,
    /// This one or none.
    Named(Kind),
}

/// Work that is generic over the driver: see [`Kind::visit`].
pub trait Visit {
    /// What the work gives.
    type Output;
    /// Does the work on driver `D`.
    fn visit<D: Driver>(self) -> Self::Output;
}

impl Kind {
    /// All kinds, best first.
    pub const ALL: [Kind; 4] = [Kind::Monoio, Kind::Ring, Kind::TokioUring, Kind::Epoll];

    /// What `auto` tries, in its order.
    pub const AUTO: [Kind; 4] = [Kind::Monoio, Kind::Ring, Kind::Epoll, Kind::TokioUring];

    /// The name, as in `--driver`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ring => "ring",
            Kind::Monoio => "monoio",
            Kind::TokioUring => "tokio-uring",
            Kind::Epoll => "epoll",
        }
    }

    /// Whether this build has the driver (its Cargo feature).
    pub fn is_compiled(self) -> bool {
        match self {
            Kind::Ring => cfg!(feature = "ring"),
            Kind::Monoio => cfg!(feature = "monoio"),
            Kind::TokioUring => cfg!(feature = "tokio-uring"),
            Kind::Epoll => cfg!(feature = "epoll"),
        }
    }

    /// Does `work` on this driver.
    ///
    /// # Errors
    /// [`Unavailable`] when this build does not have it.
    pub fn visit<V: Visit>(self, work: V) -> Result<V::Output, Unavailable> {
        match self {
            #[cfg(feature = "ring")]
            Kind::Ring => Ok(work.visit::<super::ring::Ring>()),
            #[cfg(feature = "monoio")]
            Kind::Monoio => Ok(work.visit::<super::monoio::MonoioUring>()),
            #[cfg(feature = "tokio-uring")]
            Kind::TokioUring => Ok(work.visit::<super::tokio_uring::TokioUring>()),
            #[cfg(feature = "epoll")]
            Kind::Epoll => Ok(work.visit::<super::epoll::Epoll>()),
            #[cfg(not(all(
                feature = "monoio",
                feature = "ring",
                feature = "tokio-uring",
                feature = "epoll"
            )))]
            _ => Err(Unavailable::not_compiled(self)),
        }
    }

    /// Descriptors that a connection to an upstream takes on it.
    pub fn descriptors_a_connect(self) -> usize {
        self.visit(Descriptors).unwrap_or(1)
    }

    /// Passes one connection and one message through the driver on loopback, with the flags it
    /// would serve with. A ring that can be made is not yet one that works.
    ///
    /// # Errors
    /// [`Unavailable`], with the cause and the remedy.
    pub fn self_test(self) -> Result<(), Unavailable> {
        let (done, result) = mpsc::channel();
        // On a thread of its own, because a ring belongs to the thread that made it, and because
        // one that hangs must not take the caller along.
        let thread = std::thread::Builder::new().name("ringpress-probe".into());
        let spawned = thread.spawn(move || {
            let outcome = self
                .visit(SelfTest)
                .and_then(|outcome| outcome.map_err(|error| Unavailable::refused(self, error)));
            let _ = done.send(outcome);
        });
        if let Err(error) = spawned {
            return Err(Unavailable::refused(self, error));
        }
        result.recv_timeout(SELF_TEST_TIMEOUT).unwrap_or_else(|_| {
            Err(Unavailable::refused(self, io::Error::from(io::ErrorKind::TimedOut)))
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Choice {
    /// The driver to serve with, and what `auto` passed over on the way to it. A driver that was
    /// named is taken or refused; `auto` falls back from a ring to epoll.
    ///
    /// # Errors
    /// [`Unavailable`]: of the driver that was named, or of the last one that `auto` tried.
    pub fn resolve(self) -> Result<(Kind, Vec<Unavailable>), Unavailable> {
        match self {
            Choice::Named(kind) => kind.self_test().map(|()| (kind, Vec::new())),
            Choice::Auto => {
                let mut passed_over = Vec::new();
                for kind in Kind::AUTO {
                    // What forbids one ring forbids the other.
                    let is_second = kind == Kind::Ring && Kind::Monoio.is_compiled();
                    if !kind.is_compiled() || is_second {
                        continue;
                    }
                    match kind.self_test() {
                        Ok(()) => return Ok((kind, passed_over)),
                        Err(error) => passed_over.push(error),
                    }
                }
                Err(passed_over.pop().unwrap_or_else(|| Unavailable::not_compiled(Kind::Monoio)))
            }
        }
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if name == "auto" {
            return Ok(Choice::Auto);
        }
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        kind.map(Choice::Named).ok_or_else(|| {
            format!("no driver `{name}`: use auto, monoio, ring, tokio-uring or epoll")
        })
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Choice::Auto => f.write_str("auto"),
            Choice::Named(kind) => f.write_str(kind.name()),
        }
    }
}

/// Why a driver cannot serve here, and what to do about it.
#[derive(Debug)]
pub struct Unavailable {
    kind: Kind,
    cause: String,
    remedy: String,
}

impl Unavailable {
    /// The driver that is not to be had.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    fn not_compiled(kind: Kind) -> Self {
        Self {
            kind,
            cause: "this build does not have it".into(),
            remedy: format!("build with `--features {kind}`, or choose another driver"),
        }
    }

    fn refused(kind: Kind, error: io::Error) -> Self {
        let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0);
        let (cause, remedy) = explain(kind, &error, disabled);
        Self { kind, cause, remedy }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} driver cannot serve here: {}; {}", self.kind, self.cause, self.remedy)
    }
}

impl std::error::Error for Unavailable {}

/// How long a self-test may take; on a healthy machine it takes about a millisecond.
const SELF_TEST_TIMEOUT: Duration = Duration::from_secs(3);

/// The cause and the remedy of a refusal; `disabled` is `kernel.io_uring_disabled`.
fn explain(kind: Kind, error: &io::Error, disabled: u32) -> (String, String) {
    const EPERM: i32 = 1;
    const ENOMEM: i32 = 12;
    const EINVAL: i32 = 22;
    const ENOSYS: i32 = 38;
    let with = |cause: &str, remedy: &str| (format!("{cause} ({error})"), remedy.to_owned());
    if kind == Kind::Epoll {
        return with("the self-test on loopback failed", "check `ulimit -n` and the loopback");
    }
    match error.raw_os_error() {
        Some(EPERM) if disabled > 0 => with(
            &format!("kernel.io_uring_disabled is {disabled}"),
            "run `sysctl kernel.io_uring_disabled=0`, or use `--driver epoll`",
        ),
        Some(EPERM) => with(
            "io_uring is not permitted, most likely by a container's seccomp profile",
            "allow io_uring_setup, io_uring_enter and io_uring_register in the profile \
             (deploy/seccomp.json), or use `--driver epoll`",
        ),
        Some(ENOSYS) => with(
            "this kernel has no io_uring, or a seccomp profile hides it",
            "use Linux 5.11 or newer, allow the io_uring calls in the profile, or use \
             `--driver epoll`",
        ),
        Some(EINVAL) => with(
            "this kernel's io_uring is too old",
            match kind {
                Kind::Ring => "use Linux 6.1 or newer, or use `--driver monoio`",
                _ => "use Linux 5.11 or newer (6.1 for the fast flags), or use `--driver epoll`",
            },
        ),
        Some(ENOMEM) => with(
            "the ring does not fit into the locked-memory limit",
            "raise RLIMIT_MEMLOCK (`LimitMEMLOCK=infinity` in the systemd unit), or use \
             `--driver epoll`",
        ),
        _ => with("the self-test on loopback failed", "use `--driver epoll`, and tell us"),
    }
}

struct Descriptors;

impl Visit for Descriptors {
    type Output = usize;

    fn visit<D: Driver>(self) -> usize {
        D::DESCRIPTORS_A_CONNECT
    }
}

struct SelfTest;

impl Visit for SelfTest {
    type Output = io::Result<()>;

    fn visit<D: Driver>(self) -> io::Result<()> {
        D::run(|| super::self_test::<D>())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_parsed_back_and_others_are_told_the_names() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(Choice::Named(kind)));
        }
        assert_eq!("auto".parse(), Ok(Choice::Auto));
        assert!("uring".parse::<Choice>().is_err_and(|message| message.contains("tokio-uring")));
    }

    #[test]
    fn a_refusal_names_its_cause_and_a_remedy() {
        let explain = |errno, disabled| {
            let error = io::Error::from_raw_os_error(errno);
            let (cause, remedy) = explain(Kind::Monoio, &error, disabled);
            format!("{cause}; {remedy}")
        };
        assert!(explain(1, 2).contains("kernel.io_uring_disabled is 2"));
        assert!(explain(1, 2).contains("sysctl kernel.io_uring_disabled=0"));
        assert!(explain(1, 0).contains("seccomp"));
        assert!(explain(38, 0).contains("no io_uring"));
        assert!(explain(12, 0).contains("RLIMIT_MEMLOCK"));
        assert!(explain(22, 0).contains("too old"));
        let (_, remedy) = super::explain(Kind::Ring, &io::Error::from_raw_os_error(22), 0);
        assert!(remedy.contains("Linux 6.1"), "{remedy}");
    }
}
