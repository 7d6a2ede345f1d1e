//! Pebble as processes of its own, which end with their test: the directory, and the name server
//! that it asks.

use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{Error, RootCertStore};
use tempfile::TempDir;

use super::visitor::PATIENCE;

/// What keeps a proxy of this machine out of what happens on loopback.
pub(crate) const NO_PROXY: [(&str, &str); 2] = [("NO_PROXY", "*"), ("no_proxy", "*")];

/// A directory that gives certificates to whoever answers at its port of this address.
pub(crate) struct Pebble {
    _processes: [Process; 2],
    _folder: TempDir,
    ca: PathBuf,
    directory: SocketAddr,
    validates: SocketAddr,
    root: CertificateDer<'static>,
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Pebble {
    /// Starts it, unless it is not installed, which is said. An address of loopback for each test,
    /// so that none takes a port that another one has found to be free.
    pub(crate) fn start(ip: Ipv4Addr, validity_s: u32) -> Option<Self> {
        if !is_installed("pebble") || !is_installed("pebble-challtestsrv") {
            assert!(
                std::env::var_os("RINGPRESS_REQUIRE_PEBBLE").is_none_or(|value| value != "1"),
                "acme end-to-end: RINGPRESS_REQUIRE_PEBBLE=1, and it is not installed",
            );
            // Not through the captured streams of the test: a skipped test must be seen.
            writeln!(io::stderr(), "skipped: acme end-to-end: pebble is not installed")
                .expect("standard error");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let [directory, management, validates, dns, dns_management] = free_ports(ip);
        let authority = authority();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let ca = file("ca.pem", &authority.pem());
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(vec![ip.to_string()]).unwrap();
        let own = own.signed_by(&key, &authority).unwrap();
        let configuration = serde_json::json!({ "pebble": {
            "listenAddress": directory.to_string(),
            "managementListenAddress": management.to_string(),
            "certificate": file("own.pem", &own.pem()),
            "privateKey": file("own.key", &key.serialize_pem()),
            "httpPort": validates.port(),
            "tlsPort": 1,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": validity_s,
        }});
        let configuration = file("pebble.json", &configuration.to_string());
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let names = spawn(
            Command::new("pebble-challtestsrv")
                .args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""])
                .args(["-defaultIPv4", &ip.to_string(), "-dns01", &dns.to_string()])
                .args(["-management", &dns_management.to_string()]),
            &log,
        );
        let pebble = spawn(
            Command::new("pebble")
                .arg("-config")
                .arg(configuration)
                .args(["-dnsserver", &dns.to_string()])
                // It says no at random otherwise, waits at random, and takes an old proof.
                .envs([("PEBBLE_WFE_NONCEREJECT", "0"), ("PEBBLE_VA_NOSLEEP", "1")])
                .env("PEBBLE_AUTHZREUSE", "0")
                .env_remove("PEBBLE_VA_ALWAYS_VALID"),
            &log,
        );
        let mut processes = [names, pebble];
        let root = root(management, &authority, || {
            let log = fs::read_to_string(folder.path().join("log")).unwrap();
            for process in &mut processes {
                assert_eq!(process.0.try_wait().unwrap(), None, "pebble ended:\n{log}");
            }
            log
        });
        Some(Self { _processes: processes, _folder: folder, ca, directory, validates, root })
    }

    /// The URL of the directory.
    pub(crate) fn directory(&self) -> String {
        format!("https://{}/dir", self.directory)
    }

    /// What its own certificate is to be checked against.
    pub(crate) fn ca(&self) -> &Path {
        &self.ca
    }

    /// Where it asks who claims a name.
    pub(crate) fn validates(&self) -> String {
        self.validates.to_string()
    }

    /// Checks a file with a key and a chain as a server and a browser would: they belong together,
    /// and are good now for these names, and for those others not.
    #[track_caller]
    pub(crate) fn check(&self, text: &str, names: &[&str], others: &[&str]) {
        belong_together(text);
        let provider = aws_lc_rs::default_provider();
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider));
        let verifier = verifier.build().unwrap();
        let chain = chain(text);
        let (own, rest) = chain.split_first().expect("a certificate");
        let verify = |name: &str| {
            let name = ServerName::try_from(name.to_owned()).unwrap();
            verifier.verify_server_cert(own, rest, &name, &[], UnixTime::now())
        };
        for name in names {
            verify(name).expect(name);
        }
        for other in others {
            assert!(matches!(verify(other), Err(Error::InvalidCertificate(_))), "{other}");
        }
    }
}

/// Checks that a file has a key and the chain for it.
#[track_caller]
pub(crate) fn belong_together(text: &str) {
    let provider = aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain(text), key(text), &provider).expect("a chain for its key");
}

/// The key in a file.
pub(crate) fn key(text: &str) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(text.as_bytes()).expect("a key")
}

fn chain(text: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(text.as_bytes()).map(|one| one.expect("PEM")).collect()
}

/// A certificate that others can be signed with, and its key.
pub(crate) fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Ports that nobody has, for TCP and UDP: neither program can say which one it was given.
fn free_ports<const N: usize>(ip: Ipv4Addr) -> [SocketAddr; N] {
    let bound = [(); N].map(|()| {
        loop {
            let tcp = TcpListener::bind((ip, 0)).unwrap();
            let address = tcp.local_addr().unwrap();
            if let Ok(udp) = UdpSocket::bind(address) {
                break (tcp, udp, address);
            }
        }
    });
    bound.map(|(_, _, address)| address)
}

fn spawn(command: &mut Command, log: &fs::File) -> Process {
    let (out, err) = (log.try_clone().unwrap(), log.try_clone().unwrap());
    Process(command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().unwrap())
}

/// What Pebble's certificates are checked against: made when it starts, and told when it is asked.
fn root(
    management: SocketAddr,
    authority: &Authority,
    mut log: impl FnMut() -> String,
) -> CertificateDer<'static> {
    let own = ureq::tls::Certificate::from_der(authority.der()).to_owned();
    let tls = ureq::tls::TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
        .root_certs(ureq::tls::RootCerts::new_with_certs(&[own]))
        .build();
    let config = ureq::Agent::config_builder();
    let config = config.proxy(None).timeout_global(Some(PATIENCE)).tls_config(tls);
    let agent: ureq::Agent = config.build().into();
    let start = Instant::now();
    loop {
        match agent.get(format!("https://{management}/roots/0")).call() {
            Ok(mut answer) => {
                let text = answer.body_mut().read_to_string().unwrap();
                return CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
            }
            Err(error) => {
                let log = log();
                assert!(start.elapsed() < PATIENCE, "no root: {error}: {log}");
                thread::sleep(Duration::from_millis(50));
            }
        }
    }
}
