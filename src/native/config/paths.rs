//! Paths as a person writes them, and where the files of a folder go.

use std::path::{Path, PathBuf};

use crate::native::store::Destination;

/// Absolute, with `~` for the home of who runs this.
pub(super) fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            let home = std::env::var_os("HOME").ok_or("~ has no meaning here: HOME is not set")?;
            Path::new(&home).join(rest.trim_start_matches('/'))
        }
        Some(_) => return Err(format!("{text:?} is somebody else's home: write the path out")),
        None => PathBuf::from(text),
    };
    std::path::absolute(&path).map_err(|error| format!("{text:?} is no path: {error}"))
}

/// The same path for the same file, as far as it is there.
pub(super) fn real(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => real(parent).join(name),
        _ => path.to_owned(),
    }
}

/// The destination of a file in a folder of databases whose own is `destination`.
pub(super) fn below(destination: &Destination, relative: &str) -> Result<Destination, String> {
    let join = |path: &str| match path {
        "" => relative.to_owned(),
        path => format!("{path}/{relative}"),
    };
    let mut destination = destination.clone();
    match &mut destination {
        Destination::Folder(path) => path.push(relative),
        Destination::S3(s3) => s3.path = join(&s3.path),
        Destination::Gs(gs) => gs.path = join(&gs.path),
        Destination::Abs(abs) => abs.path = join(&abs.path),
        Destination::Worker(url) => {
            let name = format!("{}-{}", url.path().trim_end_matches('/'), worker_name(relative));
            if name.rsplit('/').next().is_some_and(|name| name.len() > 63) {
                return Err(format!(
                    "{relative:?} makes a name of more than 63 letters for the Worker: {url}-…"
                ));
            }
            url.set_path(&name);
        }
    }
    Ok(destination)
}

/// `tenants/Acme.db` is `tenants-acme`: what a Worker takes for a name.
fn worker_name(relative: &str) -> String {
    let stem = [".db", ".sqlite", ".sqlite3"]
        .iter()
        .find_map(|end| relative.strip_suffix(end))
        .unwrap_or(relative);
    let letter = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_alphanumeric() || c == '_' => c,
        _ => '-',
    };
    stem.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_folder_go_below_its_destination() {
        for (url, relative, expected) in [
            ("file:///backup", "a/x.db", "file:///backup/a/x.db"),
            ("s3://bucket/dbs", "x.db", "s3://bucket/dbs/x.db"),
            ("s3://bucket", "a/x.db", "s3://bucket/a/x.db"),
            ("gs://bucket/dbs", "x.db", "gs://bucket/dbs/x.db"),
            (
                "https://x.dev/v1/app",
                "a/My File.db",
                "https://x.dev/v1/app-a-my-file",
            ),
        ] {
            let destination = Destination::parse(url, false).unwrap();
            assert_eq!(below(&destination, relative).unwrap().to_string(), expected);
        }
        let worker = Destination::parse("https://x.dev/v1/app", false).unwrap();
        assert!(below(&worker, &"x".repeat(70)).unwrap_err().contains("63"));
    }

    #[test]
    fn a_tilde_is_home() {
        let home = std::env::var("HOME").unwrap();
        assert_eq!(absolute("~/a.db").unwrap(), Path::new(&home).join("a.db"));
        assert_eq!(absolute("/a.db").unwrap(), Path::new("/a.db"));
        assert!(absolute("a.db").unwrap().is_absolute());
        absolute("~other/a.db").unwrap_err();
    }
}
