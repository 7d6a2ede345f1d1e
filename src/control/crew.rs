//! The workers of a server and what they serve, whatever that is: a server is the same for all
//! kinds of services.

use std::any::Any;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use crate::metrics::WorkerMetrics;
use crate::worker::Orders;
use crate::worker::mailbox::Mailbox;
use crate::worker::thread::{self, Ready, Recipe, Start, Started};

use super::server::{Plan, Secure};
use super::sockets::Share;

/// A recipe that workers are started with, and where each finds the next one.
pub(super) struct Crew<R: Recipe> {
    recipe: Arc<R>,
    /// The one before.
    before: Option<Arc<R>>,
    mailboxes: Vec<Arc<Mailbox<R>>>,
}

/// A crew of any kind.
pub(super) trait Fleet: Send + Sync {
    /// Starts the thread of a worker.
    ///
    /// # Errors
    /// When it cannot be made.
    fn launch(
        &self,
        plan: &Plan,
        number: usize,
        share: Share,
        given: (Arc<WorkerMetrics>, Arc<Orders>),
        ready: Sender<Started>,
    ) -> io::Result<JoinHandle<io::Result<()>>>;

    /// For who knows of which kind it is.
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<R: Recipe> Crew<R> {
    pub(super) fn new(recipe: R, workers: usize) -> Self {
        let mailboxes = (0..workers).map(|_| Arc::default()).collect();
        Self { recipe: Arc::new(recipe), before: None, mailboxes }
    }

    /// Has all workers go over to another recipe, and those that are started from now on begin
    /// with it. Gives the number of each one's post.
    pub(super) fn post(&mut self, recipe: R) -> Vec<u64> {
        self.before = Some(std::mem::replace(&mut self.recipe, Arc::new(recipe)));
        self.mailboxes.iter().map(|mailbox| mailbox.put(Arc::clone(&self.recipe))).collect()
    }

    /// Has workers that are started from now on begin with the recipe before, as nothing can be
    /// made by this one.
    pub(super) fn take_back(&mut self) {
        if let Some(before) = self.before.take() {
            self.recipe = before;
        }
    }

    /// Whether a worker serves what was posted; none while that is not known.
    pub(super) fn outcome(&self, worker: usize, post: u64) -> Option<bool> {
        self.mailboxes.get(worker)?.outcome(post)
    }
}

impl<R: Recipe> Fleet for Crew<R> {
    fn launch(
        &self,
        plan: &Plan,
        number: usize,
        share: Share,
        (metrics, orders): (Arc<WorkerMetrics>, Arc<Orders>),
        ready: Sender<Started>,
    ) -> io::Result<JoinHandle<io::Result<()>>> {
        let tls = |secure: &Secure| secure.tls.clone();
        let start = Start {
            number,
            cpu: plan.cpus.get(number).copied().flatten(),
            listeners: share.plain,
            secure_listeners: share.secure,
            tls: plan.secure.as_ref().map(tls),
            bounds: plan.bounds.clone(),
            metrics,
            orders,
            recipe: Arc::clone(&self.recipe),
            mailbox: self.mailboxes.get(number).map(Arc::clone).unwrap_or_default(),
            ready: Ready::new(number, ready),
        };
        thread::start(plan.driver, start)
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}
