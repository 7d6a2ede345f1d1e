//! Challenges that servers with one folder answer for each other, as a name may lead to any of
//! them: who asks the directory writes them into the folder, and the others look there. Their file
//! has one name, whatever the tokens are.

use crate::page::Challenges;

use super::storage::{Storage, StorageError};

/// Writes down what is to be answered. To be called by who has the folder's lock.
pub(super) fn publish(storage: &Storage, answers: &[(String, String)]) -> Result<(), StorageError> {
    let text = serde_json::to_string(answers).map_err(|_| {
        StorageError::Strange(storage.path(FILE), "challenges that cannot be written")
    })?;
    storage.write(FILE, &text)
}

/// Removes what was written down, also by a process that was killed. To be called by who has the
/// folder's lock.
pub(super) fn withdraw(storage: &Storage) {
    if let Err(error) = storage.remove_if_there(FILE) {
        tracing::warn!(%error, "cannot remove challenges that are over");
    }
}

/// Has the workers answer what another server has written down, until it is gone. `seen` is what
/// was there last.
pub(super) fn follow(storage: &Storage, challenges: &Challenges, seen: &mut Option<String>) {
    let text = storage.read(FILE).unwrap_or_else(|error| {
        tracing::debug!(%error, "cannot read the challenges of another server");
        None
    });
    if text == *seen {
        return;
    }
    let answers = text.as_deref().map(serde_json::from_str::<Vec<(String, String)>>);
    let answers = answers.and_then(Result::ok).unwrap_or_default();
    // What is no token or answer, or too many, is not taken.
    if !challenges.set(answers) {
        tracing::warn!(file = %storage.path(FILE).display(), "there are no challenges in it");
    }
    *seen = text;
}

const FILE: &str = "challenges.json";

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    fn answered(challenges: &Challenges, token: &str) -> Option<String> {
        let path = format!("/.well-known/acme-challenge/{token}");
        let mut out = Vec::new();
        challenges.answer(path.as_bytes(), &mut out).then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn what_one_server_is_asked_another_one_answers_until_it_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) =
            (Storage::open(folder.path()).unwrap(), Storage::open(folder.path()).unwrap());
        let (challenges, mut seen) = (Challenges::default(), None);
        follow(&other, &challenges, &mut seen);
        assert_eq!(answered(&challenges, "a-T_9"), None);
        publish(&one, &[("a-T_9".into(), "a-T_9.x".into()), ("b".into(), "b.x".into())]).unwrap();
        follow(&other, &challenges, &mut seen);
        assert_eq!(answered(&challenges, "a-T_9").as_deref(), Some("a-T_9.x"));
        assert_eq!(answered(&challenges, "b").as_deref(), Some("b.x"));
        withdraw(&one);
        withdraw(&one);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        follow(&other, &challenges, &mut seen);
        assert_eq!(answered(&challenges, "a-T_9"), None);
    }

    #[test]
    fn what_is_no_challenge_is_not_answered_whoever_wrote_it() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open(folder.path()).unwrap();
        let write = |text: &str, mode| {
            let path: &Path = &folder.path().join(FILE);
            fs::write(path, text).unwrap();
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        };
        let many: Vec<_> = (0..101).map(|n| (n.to_string(), "x".to_owned())).collect();
        let many = serde_json::to_string(&many).unwrap();
        let (challenges, mut seen) = (Challenges::default(), None);
        for (text, mode) in [
            (r#"[["1","x"],["../../1","x"]]"#, 0o600),
            (r#"[["1","<p>"]]"#, 0o600),
            (r#"[["1","x"]]"#, 0o644),
            (r#"[["1","x"]"#, 0o600),
            (&many, 0o600),
        ] {
            publish(&storage, &[("good".into(), "x".into())]).unwrap();
            follow(&storage, &challenges, &mut seen);
            assert!(answered(&challenges, "good").is_some());
            write(text, mode);
            follow(&storage, &challenges, &mut seen);
            assert_eq!(answered(&challenges, "1"), None, "{text}");
            assert_eq!(answered(&challenges, "good"), None, "{text}");
        }
    }
}
