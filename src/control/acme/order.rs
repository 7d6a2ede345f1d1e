//! One attempt to get a certificate (RFC 8555 section 7.4): the account, the order, its challenges
//! answered by the workers, the certificate.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Error, Identifier, NewAccount,
    NewOrder, Order, OrderStatus,
};
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};

use crate::config::Acme;
use crate::limits::{ACME_ORDER_TIMEOUT, ACME_POLL_MAX, ACME_POLL_MIN, ACME_SHARE_WAIT};
use crate::page::Challenges;

use super::client::Client;
use super::failure::Failure;
use super::storage::{Storage, StorageError};
use super::{End, Stop, shared};

/// What an attempt needs.
pub(super) struct Attempt<'a> {
    pub(super) config: &'a Acme,
    pub(super) storage: &'a Storage,
    pub(super) challenges: &'a Challenges,
    pub(super) client: Client,
    pub(super) stop: &'a Stop,
}

/// The file of an account: it is one with this directory, and its key is the owner's alone.
#[derive(Deserialize, Serialize)]
struct Stored {
    directory: String,
    contact: Option<String>,
    credentials: AccountCredentials,
}

impl Attempt<'_> {
    /// Gets a certificate: its key and then its chain, as PEM.
    pub(super) fn run(&self) -> Result<String, End> {
        let account = self.account()?;
        let names: Vec<Identifier> =
            self.config.names.iter().cloned().map(Identifier::Dns).collect();
        let ordered = self.ask(ORDER, account.new_order(&NewOrder::new(&names)));
        let mut order = ordered.inspect_err(|failure| self.forget_account(failure))?;
        let deadline = Instant::now() + ACME_ORDER_TIMEOUT;
        let open = self.open_challenges(&mut order)?;
        let is_proved = |status| status != OrderStatus::Pending;
        let status = self.wait_for(&mut order, PROVE, deadline, is_proved)?;
        if status == OrderStatus::Invalid {
            return Err(self.reason(&mut order).into());
        }
        drop(open);
        let key = self.ask(FINALIZE, order.finalize())?;
        let is_made = |status| status != OrderStatus::Processing;
        let status = self.wait_for(&mut order, FINALIZE, deadline, is_made)?;
        if status != OrderStatus::Valid {
            let cause = format!("the order has become {status:?}").to_lowercase();
            return Err(Failure::new(FINALIZE, cause).into());
        }
        let chain = self.ask(FINALIZE, order.certificate())?;
        let chain = chain.ok_or_else(|| Failure::new(FINALIZE, "there is none"))?;
        fits(&key, &chain).map_err(|cause| Failure::new(FINALIZE, cause))?;
        Ok(format!("{key}{chain}"))
    }

    /// Our account with the directory: made once, and kept.
    fn account(&self) -> Result<Account, Failure> {
        let file = account_file(&self.config.directory);
        let stored = match self.storage.read(&file)? {
            None => None,
            Some(text) => Some(serde_json::from_str::<Stored>(&text).map_err(|_| {
                StorageError::Strange(self.storage.path(&file), "it is no account of ours")
            })?),
        };
        let contact: Vec<&str> = self.config.contact.as_deref().into_iter().collect();
        let builder = Account::builder_with_http(Box::new(self.client.clone()));
        let (account, credentials) = match stored {
            Some(stored) if stored.directory == self.config.directory => {
                let copy = serde_json::to_value(&stored.credentials)
                    .and_then(serde_json::from_value)
                    .map_err(|error| Failure::new(ACCOUNT, error.to_string()))?;
                let account = self.ask(ACCOUNT, builder.from_credentials(copy))?;
                if stored.contact == self.config.contact {
                    return Ok(account);
                }
                self.ask(ACCOUNT, account.update_contacts(&contact))?;
                (account, stored.credentials)
            }
            _ => {
                let wanted = NewAccount {
                    contact: &contact,
                    // The site file says so, or there would be no attempt.
                    terms_of_service_agreed: true,
                    only_return_existing: false,
                };
                let directory = self.config.directory.clone();
                self.ask(ACCOUNT, builder.create(&wanted, directory, None))?
            }
        };
        let (directory, contact) = (self.config.directory.clone(), self.config.contact.clone());
        let text = serde_json::to_string(&Stored { directory, contact, credentials })
            .map_err(|error| Failure::new(ACCOUNT, error.to_string()))?;
        self.storage.write(&file, &text)?;
        Ok(account)
    }

    /// An account that the directory does not know is of no use to anybody.
    fn forget_account(&self, failure: &Failure) {
        if failure.is_unknown_account()
            && let Err(error) = self.storage.remove(&account_file(&self.config.directory))
        {
            tracing::warn!(%error, "cannot remove the account that the directory does not know");
        }
    }

    /// Has the workers answer the order's challenges, here and elsewhere, then tells the directory
    /// to ask.
    fn open_challenges(&self, order: &mut Order) -> Result<Open<'_>, End> {
        let mut answers = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(next) = at_once(authorizations.next()).flatten() {
            let mut authorization = next.map_err(|error| self.failure(PROVE, &error))?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let name = authorization.identifier().to_string();
            let challenge = authorization.challenge(ChallengeType::Http01).ok_or_else(|| {
                let cause = format!("the directory has no http-01 challenge for {name}");
                Failure::new(PROVE, cause)
                    .with_remedy("take another directory: ringpress knows no other challenge")
            })?;
            let answer = challenge.key_authorization().as_str().to_owned();
            answers.push((challenge.token.clone(), answer));
        }
        let open = Open { challenges: self.challenges, storage: self.storage };
        if !self.challenges.set(answers.clone()) {
            return Err(Failure::new(PROVE, "the directory's challenge is none").into());
        }
        if !answers.is_empty() {
            shared::publish(self.storage, &answers).map_err(Failure::from)?;
            self.stop.wait(ACME_SHARE_WAIT)?;
        }
        let mut authorizations = order.authorizations();
        while let Some(next) = at_once(authorizations.next()).flatten() {
            let mut authorization = next.map_err(|error| self.failure(PROVE, &error))?;
            if authorization.status != AuthorizationStatus::Valid
                && let Some(mut challenge) = authorization.challenge(ChallengeType::Http01)
            {
                self.ask(PROVE, challenge.set_ready())?;
            }
        }
        Ok(open)
    }

    /// Asks how the order is getting on until it has got somewhere.
    fn wait_for(
        &self,
        order: &mut Order,
        tried: &'static str,
        deadline: Instant,
        is_over: impl Fn(OrderStatus) -> bool,
    ) -> Result<OrderStatus, End> {
        let mut pause = ACME_POLL_MIN;
        loop {
            let status = self.ask(tried, order.refresh())?.status;
            if is_over(status) {
                return Ok(status);
            }
            let wait = self.client.said().retry_after.unwrap_or(pause);
            if Instant::now() + wait.min(ACME_ORDER_TIMEOUT) >= deadline {
                let cause = format!("it took longer than {} s", ACME_ORDER_TIMEOUT.as_secs());
                return Err(Failure::new(tried, cause).into());
            }
            // A directory that has us ask at once, again and again, gets no more than that.
            self.stop.wait(wait.max(ACME_POLL_MIN))?;
            pause = (pause * 2).min(ACME_POLL_MAX);
        }
    }

    /// Why an order has failed: what the directory saw when it asked for a challenge.
    fn reason(&self, order: &mut Order) -> Failure {
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = at_once(authorizations.next()).flatten() {
            let Ok(state) = self.ask(PROVE, authorization.refresh()) else { continue };
            let problem = state.challenges.iter().find_map(|challenge| challenge.error.as_ref());
            if let Some(problem) = problem {
                let name = state.identifier().to_string();
                return Failure::told(PROVE, problem).about(&name);
            }
        }
        Failure::new(PROVE, "the directory does not say why")
    }

    fn ask<T>(
        &self,
        tried: &'static str,
        asked: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Failure> {
        let answer = at_once(asked).unwrap_or(Err(Error::Str("an answer at once")));
        answer.map_err(|error| self.failure(tried, &error))
    }

    fn failure(&self, tried: &'static str, error: &Error) -> Failure {
        Failure::of(tried, error, self.client.said())
    }
}

/// Challenges that are answered until this is dropped, however the attempt ends.
struct Open<'a> {
    challenges: &'a Challenges,
    storage: &'a Storage,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.challenges.set(Vec::new());
        shared::withdraw(self.storage);
    }
}

/// What a future comes to that waits for nothing but our client, which blocks: it needs no
/// executor. None for one that waits for something else.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Whether a chain belongs to a key, both as PEM.
fn fits(key: &str, chain: &str) -> Result<(), String> {
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| format!("it cannot be read: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| error.to_string())?;
    match CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("it is none for our key: {error}")),
    }
}

/// Directories are told apart by their hosts, so that the account of one is still there after
/// another was tried out.
fn account_file(directory: &str) -> String {
    let host = directory.strip_prefix("https://").unwrap_or(directory);
    let host = host.split(['/', '?']).next().unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let plain: String = host.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    format!("account-{plain}.json")
}

const ACCOUNT: &str = "have an account with the directory";
const ORDER: &str = "order a certificate";
const PROVE: &str = "prove that the names are ours";
const FINALIZE: &str = "get the certificate";

#[cfg(test)]
mod tests {
    use super::super::certificate::tests::chain;
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    #[test]
    fn an_account_is_of_one_host() {
        let file = account_file("https://acme-v02.api.letsencrypt.org/directory");
        assert_eq!(file, "account-acme-v02.api.letsencrypt.org.json");
        assert_eq!(account_file("https://[::1]:14000/dir"), "account-___1__14000.json");
        assert_eq!(account_file("https://..%2f?x"), "account-.._2f.json");
    }

    #[test]
    fn a_chain_must_be_for_its_key() {
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        let own = own.self_signed(&key).unwrap().pem();
        assert_eq!(fits(&key.serialize_pem(), &own), Ok(()));
        let error = fits(&key.serialize_pem(), &chain(&["a.example"])).unwrap_err();
        assert!(error.contains("none for our key"), "{error}");
        assert!(fits(&key.serialize_pem(), "").is_err());
        assert!(fits("", &own).is_err());
    }

    #[test]
    fn what_waits_for_something_else_is_not_waited_for() {
        assert_eq!(at_once(async { 7 }), Some(7));
        assert_eq!(at_once(std::future::pending::<()>()), None);
    }
}
