//! Finding `postgres` and `initdb`. Owns the order of places; never starts a server.
//!
//! Order: `PG_BIN_DIR` (then nothing else) → `PATH` → `/usr/lib/postgresql/*/bin` (Debian), newest first →
//! `/usr/pgsql-*/bin` (PGDG on Red Hat) → Homebrew. An existing cluster needs the same major version.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{OLDEST_SERVER_VERSION_NUM, error::PostgresError};

const OLDEST_MAJOR: u32 = OLDEST_SERVER_VERSION_NUM / 10_000;

/// A directory that holds both programs, and their major version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) dir: PathBuf,
    pub(super) major: u32,
}

impl Binaries {
    /// Finds programs that fit: of `wanted_major` when there is a cluster already, else 15 or newer.
    pub(super) fn find(
        explicit: Option<&Path>,
        wanted_major: Option<u32>,
    ) -> Result<Self, PostgresError> {
        if let Some(path) = explicit {
            return examine(path, wanted_major).map_err(|problem| PostgresError::BinariesUnfit {
                path: path.to_owned(),
                problem,
            });
        }
        let mut searched = Vec::new();
        for place in candidates(std::env::var_os("PATH").as_deref(), Path::new("/")) {
            match examine(&place, wanted_major) {
                Ok(found) => return Ok(found),
                Err(problem) => searched.push(format!("{} ({problem})", place.display())),
            }
        }
        searched.push("PATH, /usr/lib/postgresql/*/bin, /usr/pgsql-*/bin, Homebrew".to_owned());
        Err(PostgresError::BinariesNotFound {
            wanted: wanted_major.map_or_else(String::new, |major| {
                format!(" for the existing cluster of version {major}")
            }),
            searched: searched.join(", "),
        })
    }
}

/// Every directory that has a `postgres`, best first.
fn candidates(path: Option<&OsStr>, root: &Path) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = path
        .map(|path| std::env::split_paths(path).collect())
        .unwrap_or_default();
    // (directory, what an entry's name starts with)
    for (parent, prefix) in [
        ("usr/lib/postgresql", ""),
        ("usr", "pgsql-"),
        ("opt/homebrew/opt", "postgresql@"),
        ("usr/local/opt", "postgresql@"),
        ("home/linuxbrew/.linuxbrew/opt", "postgresql@"),
    ] {
        places.extend(versions_in(&root.join(parent), prefix));
    }
    places.retain(|dir| dir.join("postgres").is_file());
    places
}

/// `<parent>/<prefix><number>/bin`, highest number first.
fn versions_in(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry
                .file_name()
                .to_str()?
                .strip_prefix(prefix)?
                .parse()
                .ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, dir)| dir).collect()
}

/// The programs of a directory, if they fit; else what is wrong.
fn examine(dir: &Path, wanted_major: Option<u32>) -> Result<Binaries, String> {
    let dir = home_of(dir)?;
    let output = Command::new(dir.join("postgres"))
        .arg("--version")
        .stdin(Stdio::null())
        .env_clear()
        .output()
        .map_err(|e| format!("`postgres --version` can not be run: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let major = parse_major(&text).ok_or("`postgres --version` does not name a version")?;
    match wanted_major {
        Some(wanted) if wanted != major => Err(format!(
            "it is version {major}, the existing cluster needs version {wanted}"
        )),
        None if major < OLDEST_MAJOR => Err(format!(
            "it is version {major}, {OLDEST_MAJOR} or newer is needed"
        )),
        _ => Ok(Binaries { dir, major }),
    }
}

/// Where both programs really are. A `PATH` may hold nothing but a link to `postgres`, without `initdb`.
fn home_of(dir: &Path) -> Result<PathBuf, String> {
    let postgres =
        fs::canonicalize(dir.join("postgres")).map_err(|_| "it has no `postgres`".to_owned())?;
    [Some(dir), postgres.parent()]
        .into_iter()
        .flatten()
        .find(|dir| dir.join("postgres").is_file() && dir.join("initdb").is_file())
        .and_then(|dir| fs::canonicalize(dir).ok())
        .ok_or_else(|| "it has `postgres` but no `initdb` beside it".to_owned())
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` → 15; also `19beta1`.
fn parse_major(text: &str) -> Option<u32> {
    let version = text.split("(PostgreSQL)").nth(1)?.trim_start();
    let end = version
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(version.len());
    version[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
        path::{Path, PathBuf},
    };

    use super::{Binaries, candidates, parse_major};

    /// A directory tree that is gone when the test ends.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let dir =
                std::env::temp_dir().join(format!("credit-ledger-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            fs::create_dir_all(&dir).unwrap();
            Self(fs::canonicalize(dir).unwrap())
        }

        /// Programs that only know their version.
        fn install(&self, place: &str, version: &str, programs: &[&str]) -> PathBuf {
            let dir = self.0.join(place);
            fs::create_dir_all(&dir).unwrap();
            for program in programs {
                let path = dir.join(program);
                fs::write(
                    &path,
                    format!("#!/bin/sh\necho '{program} (PostgreSQL) {version}'\n"),
                )
                .unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            }
            dir
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn versions_are_read_from_what_the_program_says() {
        assert_eq!(
            parse_major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"),
            Some(15)
        );
        assert_eq!(parse_major("postgres (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(parse_major("postgres (Percona) 15"), None);
        assert_eq!(parse_major(""), None);
    }

    #[test]
    fn path_comes_first_then_the_highest_installed() {
        let tree = Tree::new("order");
        let nine = tree.install("usr/lib/postgresql/9/bin", "9.6", &["postgres", "initdb"]);
        let sixteen = tree.install("usr/lib/postgresql/16/bin", "16.1", &["postgres", "initdb"]);
        let seventeen = tree.install("usr/pgsql-17/bin", "17.0", &["postgres", "initdb"]);
        let brew = tree.install(
            "opt/homebrew/opt/postgresql@15/bin",
            "15.0",
            &["postgres", "initdb"],
        );
        let in_path = tree.install("mine", "15.1", &["postgres", "initdb"]);
        let path = std::env::join_paths([Path::new("/nowhere"), &in_path]).unwrap();
        assert_eq!(
            candidates(Some(&path), &tree.0),
            [in_path, sixteen, nine, seventeen, brew]
        );
    }

    #[test]
    fn a_link_leads_to_where_initdb_is() {
        let tree = Tree::new("link");
        let real = tree.install("real", "15.1", &["postgres", "initdb"]);
        let bare = tree.0.join("bare");
        fs::create_dir(&bare).unwrap();
        symlink(real.join("postgres"), bare.join("postgres")).unwrap();
        let found = Binaries::find(Some(&bare), None).unwrap();
        assert_eq!(
            found,
            Binaries {
                dir: real,
                major: 15
            }
        );
    }

    #[test]
    fn an_unfit_explicit_directory_is_an_error_that_says_why() {
        let tree = Tree::new("unfit");
        let say = |dir: &Path, wanted| Binaries::find(Some(dir), wanted).unwrap_err().to_string();
        assert!(say(&tree.0, None).contains("no `postgres`"));
        assert!(say(&tree.install("half", "15.1", &["postgres"]), None).contains("no `initdb`"));
        assert!(
            say(&tree.install("old", "14.1", &["postgres", "initdb"]), None)
                .contains("15 or newer")
        );
        let new = tree.install("new", "16.1", &["postgres", "initdb"]);
        assert!(say(&new, Some(15)).contains("needs version 15"));
        assert!(Binaries::find(Some(&new), Some(16)).is_ok());
    }
}
