//! Who works at the moment: each place's number, CPU and counters, and the site that is served,
//! for whoever tells of them. Its locks are taken at a start, a restart, a reload, and by whoever
//! asks; no worker sees it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::metrics::WorkerMetrics;
use crate::site::Site;

/// Who works at the moment, and for which site.
#[derive(Debug, Default)]
pub struct Roster {
    workers: Mutex<Vec<Post>>,
    served: Mutex<Served>,
}

/// The place of one worker.
#[derive(Clone, Debug)]
pub struct Post {
    /// Which one, from 0 on.
    pub number: usize,
    /// The CPU that who works there is pinned to.
    pub cpu: Option<usize>,
    /// Whether somebody works there now, or only has before.
    pub works: bool,
    /// The counters of who works there now, if anybody does, and of who did before: so none of
    /// them ever goes back.
    pub sets: Vec<Arc<WorkerMetrics>>,
}

/// What is served, and how, as far as it is told.
#[derive(Clone, Debug, Default)]
pub struct Served {
    /// The site.
    pub site: Facts,
    /// How the workers talk to the kernel.
    pub driver: String,
    /// Where visitors are served, as URLs.
    pub listening: Vec<String>,
}

/// What is told of a site.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Its folder.
    pub name: String,
    /// The path in the site file and the template of each page.
    pub pages: Vec<(String, String)>,
    /// The name of each upstream, and its scheme, host and port.
    pub upstreams: Vec<(String, String)>,
}

impl Facts {
    /// Of this one.
    pub fn of(site: &Site) -> Self {
        let pages = site.pages().iter();
        let pages = pages.map(|page| (page.pattern().to_owned(), page.template().to_owned()));
        let upstreams = site.upstreams().iter().map(|plan| {
            let scheme = if plan.tls.is_some() { "https" } else { "http" };
            (plan.name.clone(), format!("{scheme}://{}", plan.authority))
        });
        let (pages, upstreams) = (pages.collect(), upstreams.collect());
        Self { name: site.name().to_owned(), pages, upstreams }
    }
}

impl Roster {
    /// From now on these work.
    pub fn report(&self, workers: Vec<Post>) {
        *locked(&self.workers) = workers;
    }

    /// Who works, by number.
    pub fn workers(&self) -> Vec<Post> {
        locked(&self.workers).clone()
    }

    /// From now on this site is served: at the start, and after a reload.
    pub fn serve(&self, site: Facts) {
        locked(&self.served).site = site;
    }

    /// From now on visitors are served there, by this driver.
    pub fn listen(&self, driver: &str, plain: &[SocketAddr], secure: &[SocketAddr]) {
        let mut served = locked(&self.served);
        served.driver = driver.to_owned();
        let plain = plain.iter().map(|address| format!("http://{address}"));
        let secure = secure.iter().map(|address| format!("https://{address}"));
        served.listening = plain.chain(secure).collect();
    }

    /// What is served.
    pub fn served(&self) -> Served {
        locked(&self.served).clone()
    }
}

/// What is in it is whole, whoever panicked.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
