//! Sites whose upstreams are asked over HTTPS: what their files do, and what is said about them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ringpress::site::{Overrides, Site, Source};
use tempfile::TempDir;

use super::certificates::{Authority, Issued};

const ALL: &str = "ca = 'ca.pem'\ncertificate = 'client.pem'\nkey = 'client.key'";

/// A site with one upstream, which is asked over HTTPS, and files for that.
fn site(tls: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("Our CA");
    let Issued { chain, key } = authority.issue(&["client"]);
    let text =
        format!("[upstreams.api]\nurl = 'https://api.example/v1'\n[upstreams.api.tls]\n{tls}\n");
    let text = text + "[[page]]\npath = '/'\ntemplate = 'front.html'\n";
    write(&folder, "front.html", "front");
    write(&folder, "site.toml", &text);
    write(&folder, "ca.pem", &format!("{}{}", authority.pem, Authority::new("Other CA").pem));
    write(&folder, "client.pem", &chain);
    write(&folder, "client.key", &key);
    write(&folder, "other.key", &authority.issue(&["other"]).key);
    folder
}

/// A file that nobody else may read.
fn write(folder: &TempDir, name: &str, text: &str) {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    mode(&path, 0o600);
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn load(folder: &TempDir) -> Result<Site, String> {
    load_with(folder, &Overrides::default())
}

fn load_with(folder: &TempDir, overrides: &Overrides) -> Result<Site, String> {
    let path = folder.path().to_owned();
    let shown = path.canonicalize().unwrap().display().to_string();
    let site = Site::load_with(&Source::Folder(path), overrides);
    site.map_err(|report| report.to_string().replace(&shown, "SITE"))
}

fn to(url: &str) -> Overrides {
    Overrides { upstreams: vec![("api".to_owned(), url.to_owned())], ..Overrides::default() }
}

#[test]
fn whom_a_site_trusts_is_told() {
    let site = load(&site(ALL)).unwrap();
    let note = "upstream `api` must have a certificate for api.example from an authority in ca.pem \
                (2); ours is client.pem";
    assert_eq!(site.security_notes(), [note]);
    assert!(site.warnings().is_empty(), "{:?}", site.warnings());
    let plan = &site.upstreams()[0];
    assert_eq!((plan.port, plan.authority.as_str()), (443, "api.example"));
}

#[test]
fn each_worker_resumes_sessions_of_its_own() {
    let folder = site(ALL);
    let site = load(&folder).unwrap();
    // What is in the files now counts when the site is loaded anew, and not before.
    drop(folder);
    let replica = site.replica().unwrap();
    let tls = |site: &Site| site.upstreams()[0].tls.clone().unwrap();
    assert_ne!(tls(&site), tls(&replica));
    assert_eq!(tls(&site), tls(&site));
    assert_eq!(site.security_notes(), replica.security_notes());
}

#[test]
fn what_is_dangerous_is_said_each_time() {
    let site_of_anybody = load(&site("dangerous_accept_any_certificate = true")).unwrap();
    assert_eq!(site_of_anybody.warnings().len(), 1);
    assert!(site_of_anybody.warnings()[0].contains("upstream `api` may be anybody"));
    let off = load(&site("ca = 'ca.pem'\ndangerous_accept_any_certificate = false")).unwrap();
    assert!(off.warnings().is_empty());

    let folder = site(ALL);
    let key = folder.path().join("client.key");
    for (bits, warnings) in [(0o600, 0), (0o640, 0), (0o644, 1)] {
        mode(&key, bits);
        let site = load(&folder).unwrap();
        assert_eq!(site.warnings().len(), warnings, "{bits:o}: {:?}", site.warnings());
    }
    let warning = &load(&folder).unwrap().warnings()[0].clone();
    assert!(warning.contains("chmod o-r client.key"), "{warning}");
}

#[test]
fn a_key_of_another_certificate() {
    let folder = site("ca = 'ca.pem'\ncertificate = 'client.pem'\nkey = 'other.key'");
    let error = load(&folder).unwrap_err();
    let told = "error: `other.key` and `client.pem` do not go together: the key is not that of the \
                certificate\n --> site.toml:6:7\n";
    assert!(error.starts_with(told), "{error}");
}

#[test]
fn a_file_that_is_no_certificate() {
    let folder = site("ca = 'ca.pem'");
    write(
        &folder,
        "ca.pem",
        "-----BEGIN CERTIFICATE-----\nbm90aGluZw==\n-----END CERTIFICATE-----\n",
    );
    let error = load(&folder).unwrap_err();
    assert!(error.starts_with("error: `ca.pem` of `ca` "), "{error}");
    assert!(error.contains("site.toml:4:6") && error.contains("cannot be read"), "{error}");
    write(&folder, "ca.pem", &"x".repeat(1024 * 1024 + 1));
    let error = load(&folder).unwrap_err();
    assert!(error.contains("it is over 1048576 bytes"), "{error}");
}

#[test]
fn another_url_keeps_what_is_said_about_tls() {
    let folder = site("ca = 'ca.pem'\nname = 'api.internal'");
    let over = |url: &str| load_with(&folder, &to(url)).unwrap();
    let secure = over("https://127.0.0.1:8443/v2");
    let plan = &secure.upstreams()[0];
    assert_eq!(plan.tls.as_ref().unwrap().name.to_str(), "api.internal");
    assert_eq!((plan.port, plan.base_path.as_str()), (8443, "/v2"));
    // For a look at the site on the way to work, without the keys.
    fs::remove_file(folder.path().join("ca.pem")).unwrap();
    assert!(over("http://127.0.0.1:9000").upstreams()[0].tls.is_none());
    assert!(load(&folder).is_err());
}

#[test]
fn a_site_in_the_program_has_no_files() {
    let files: &[(&str, &str)] =
        &[("site.toml", "[upstreams.api]\nurl = 'https://a.example'\ntls = { ca = 'ca.pem' }")];
    let report = Site::load(&Source::Embedded { name: "inside", files: Box::leak(files.into()) });
    let report = report.unwrap_err().to_string();
    assert!(report.contains("a built-in site has none"), "{report}");
}

#[test]
fn a_secret_is_not_served_by_another_name() {
    let folder = site("");
    fs::create_dir_all(folder.path().join("open/.keys")).unwrap();
    write(&folder, "open/.keys/token", "0123456789abcdef");
    let token = |place: &str| {
        let text = format!(
            "[admin]\nlisten = '127.0.0.1:0'\ntoken_file = '{place}'\n\
             [[static]]\npath = '/{{file*}}'\ndir = 'open'\n"
        );
        write(&folder, "site.toml", &text);
        load(&folder).map(|_| ())
    };
    // Names with a dot before them are not served; but a link to one is.
    token("open/.keys/token").unwrap();
    std::os::unix::fs::symlink(".keys/token", folder.path().join("open/token")).unwrap();
    let error = token("open/token").unwrap_err();
    assert!(error.contains("the token of [admin] `open/token` would be served"), "{error}");
    // By the path that leads there from elsewhere, too; and what is named on the command line.
    std::os::unix::fs::symlink("open", folder.path().join("other")).unwrap();
    write(&folder, "open/plain", "0123456789abcdef");
    let error = token("other/plain").unwrap_err();
    assert!(error.contains("site.toml:3:14") && error.contains("would be served"), "{error}");
    token("open/.keys/token").unwrap();
    let overrides = Overrides {
        admin_token_file: Some(folder.path().join("open/plain")),
        ..Overrides::default()
    };
    let error = load_with(&folder, &overrides).unwrap_err();
    assert!(error.contains("would be served"), "{error}");
}
