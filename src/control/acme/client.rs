//! Asks an ACME directory, over HTTPS. It blocks, for as long as a named limit allows: nothing else
//! runs on its thread.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use ureq::http::{HeaderMap, Request, Response};
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

use crate::limits::{ACME_ANSWER_BYTES_MAX, ACME_CONNECT_TIMEOUT, ACME_REQUEST_TIMEOUT};

use super::failure::Said;

/// A client for one attempt: connections are not kept from one to the next.
#[derive(Clone)]
pub(super) struct Client {
    agent: ureq::Agent,
    /// Of the last answer. Locked for a moment, and by this thread alone: that a client could be
    /// used by several is a rule of the trait.
    said: Arc<Mutex<Said>>,
}

/// What the directory's own certificate is checked against.
#[derive(Clone, Debug)]
pub(super) enum Roots {
    /// What the system trusts.
    System,
    /// These, and no others.
    Own(Arc<Vec<Certificate<'static>>>),
}

impl Roots {
    /// Those of a PEM file, or the system's where there is none.
    pub(super) fn read(ca: Option<&PathBuf>) -> Result<Self, String> {
        let Some(path) = ca else { return Ok(Self::System) };
        Self::of_file(path).map_err(|why| {
            let path = path.display();
            format!("`ca` of [server.acme] is to be a PEM file with certificates: {path}: {why}")
        })
    }

    fn of_file(path: &Path) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
        let read = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
        let read = read.map_err(|error| error.to_string())?;
        if read.is_empty() {
            return Err("there is no certificate in it".to_owned());
        }
        let own = |der: &CertificateDer<'_>| Certificate::from_der(der).to_owned();
        Ok(Self::Own(Arc::new(read.iter().map(own).collect())))
    }
}

impl Client {
    pub(super) fn new(roots: &Roots) -> Self {
        let roots = match roots {
            Roots::System => RootCerts::PlatformVerifier,
            Roots::Own(certificates) => RootCerts::Specific(Arc::clone(certificates)),
        };
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
            .root_certs(roots)
            .build();
        let config = ureq::Agent::config_builder()
            .https_only(true)
            .http_status_as_error(false)
            // A signed request is for the URL that it names.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(ACME_CONNECT_TIMEOUT))
            .timeout_global(Some(ACME_REQUEST_TIMEOUT))
            .tls_config(tls)
            .build();
        Self { agent: config.into(), said: Arc::default() }
    }

    /// What the last answer said; nothing if there was none.
    pub(super) fn said(&self) -> Said {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, said: Said) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = said;
    }

    fn ask(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ureq::Error> {
        self.note(Said::default());
        let (parts, body) = request.into_parts();
        let answer = match body.is_empty() {
            true => self.agent.run(Request::from_parts(parts, ()))?,
            false => self.agent.run(Request::from_parts(parts, body.as_ref()))?,
        };
        let retry_after = retry_after(answer.headers(), SystemTime::now());
        let said = Said { status: answer.status().as_u16(), retry_after, problem: None };
        self.note(said.clone());
        let (parts, mut body) = answer.into_parts();
        let bytes = body.with_config().limit(ACME_ANSWER_BYTES_MAX).read_to_vec()?;
        self.note(said.with_body(&bytes));
        Ok(Response::from_parts(parts, bytes.into()))
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = BytesResponse::from(Response::new(body)).body.into_bytes().await;
            let request = Request::from_parts(parts, body.map_err(Error::Other)?);
            let answer = client.ask(request).map_err(|error| Error::Other(Box::new(error)))?;
            let (parts, body) = answer.into_parts();
            Ok(BytesResponse { parts, body: Box::new(body) })
        })
    }
}

/// How long an answer asks to wait: seconds, or a date (RFC 9110 section 10.2.3).
fn retry_after(fields: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = fields.get("Retry-After")?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(now).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::certificate::tests::{chain, day};
    use super::*;
    use std::fs;

    #[test]
    fn how_long_to_wait() {
        let after = |value: &str| {
            let mut fields = HeaderMap::new();
            fields.insert("retry-after", value.parse().unwrap());
            retry_after(&fields, day(0))
        };
        assert_eq!(after("120"), Some(Duration::from_secs(120)));
        let date = httpdate::fmt_http_date(day(1));
        assert_eq!(after(&date), Some(Duration::from_secs(24 * 3600)));
        for none in ["", "-1", "soon", &httpdate::fmt_http_date(SystemTime::UNIX_EPOCH)] {
            assert_eq!(after(none), None, "{none}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), day(0)), None);
    }

    #[test]
    fn a_file_of_roots_must_have_some() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let error = || Roots::read(Some(&path)).unwrap_err();
        assert!(error().contains("ca.pem: No such file"), "{}", error());
        fs::write(&path, "nothing").unwrap();
        assert!(error().contains("no certificate"), "{}", error());
        fs::write(&path, chain(&["a.example"]) + &chain(&["b.example"])).unwrap();
        let Roots::Own(roots) = Roots::read(Some(&path)).unwrap() else { panic!("own roots") };
        assert_eq!(roots.len(), 2);
        assert!(matches!(Roots::read(None), Ok(Roots::System)));
    }
}
