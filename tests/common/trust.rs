//! Certificates in files, and clients that know them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion, crypto::aws_lc_rs,
};

/// A folder with certificates, each its own authority, and all that trust them.
pub(crate) struct Trust {
    folder: tempfile::TempDir,
    roots: Vec<CertificateDer<'static>>,
}

impl Trust {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), roots: Vec::new() }
    }

    /// A folder with one certificate for these names.
    pub(crate) fn of(names: &[&str]) -> Self {
        let mut trust = Self::new();
        trust.certify("first", names);
        trust
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Makes a certificate, `NAME.pem` and `NAME.key`, in place of what is there.
    pub(crate) fn certify(&mut self, name: &str, names: &[&str]) -> CertificateDer<'static> {
        let key = KeyPair::generate().expect("a key");
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let params = CertificateParams::new(names).expect("names");
        let certificate = params.self_signed(&key).expect("a certificate");
        write(&self.path(&format!("{name}.key")), &key.serialize_pem());
        write(&self.path(&format!("{name}.pem")), &certificate.pem());
        self.roots.push(certificate.der().clone());
        certificate.der().clone()
    }

    pub(crate) fn lose(&self, file: &str) {
        fs::remove_file(self.path(file)).expect("a file less");
    }

    /// Lines of `[server]` that use these certificates, with some more of it.
    pub(crate) fn server(&self, lines: &str, certificates: &[&str]) -> &'static str {
        let mut text = format!("listen_tls = ['127.0.0.1:0']\n{lines}\n");
        for name in certificates {
            let path = self.path(name);
            let path = path.display();
            text += &format!("[[server.tls]]\ncertificate = '{path}.pem'\nkey = '{path}.key'\n");
        }
        text.leak()
    }

    /// A client that trusts all of them, and keeps sessions to resume.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        self.client_of(rustls::ALL_VERSIONS)
    }

    pub(crate) fn client_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        for root in &self.roots {
            roots.add(root.clone()).expect("a root");
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(versions).expect("versions");
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

/// A session of a client, with the server of this name.
pub(crate) fn session(client: &Arc<ClientConfig>, name: &str) -> ClientConnection {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    ClientConnection::new(Arc::clone(client), name).expect("a session")
}

/// Puts a file there whole, as whoever renews a certificate should.
pub(crate) fn write(path: &Path, text: &str) {
    let whole = path.with_extension("new");
    fs::write(&whole, text).expect("a file");
    fs::set_permissions(&whole, fs::Permissions::from_mode(0o600)).expect("permissions");
    fs::rename(whole, path).expect("a rename");
}
