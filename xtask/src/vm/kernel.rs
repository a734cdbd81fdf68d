//! Kernels of Debian's packages, unpacked below the target folder and never installed.

use crate::tool::{self, Tool};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// A kernel that can be booted.
pub(super) struct Kernel {
    /// What `uname -r` says.
    pub(super) release: String,
    /// Where its package lies.
    root: PathBuf,
}

/// Where machines have their things.
pub(super) fn folder() -> PathBuf {
    tool::target().join("vm")
}

impl Kernel {
    /// The newest kernel of a series, such as 6.1, for machines of clouds.
    pub(super) fn get(series: &str) -> Result<Kernel> {
        let package = newest(series)?;
        let root = folder().join("kernels").join(&package);
        if !root.join("boot").is_dir() {
            let packages = folder().join("packages");
            fs::create_dir_all(&packages)?;
            let path = packages.display().to_string();
            let script = format!("cd {path} && apt-get download {package}");
            Tool::new("sh").args(["-c", &script]).show(format!("apt-get download {package}")).run()?;
            let file = fs::read_dir(&packages)?
                .flatten()
                .map(|entry| entry.path())
                .find(|path| {
                    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{package}_")))
                })
                .with_context(|| format!("{package} was not downloaded"))?;
            let part = root.with_extension("part");
            fs::create_dir_all(&part)?;
            Tool::new("dpkg").arg("-x").arg(&file).arg(&part).run()?;
            fs::rename(&part, &root)?;
            fs::remove_file(&file)?;
        }
        let release = only(&root.join("lib/modules"))?;
        let release = release.file_name().context("a release")?.to_string_lossy().into_owned();
        if !root.join("lib/modules").join(&release).join("modules.dep").is_file() {
            Tool::new(tool::find("depmod").context("there is no depmod")?).arg("-b").arg(&root).arg(&release).run()?;
        }
        Ok(Kernel { release, root })
    }

    /// The kernel itself.
    pub(super) fn image(&self) -> PathBuf {
        self.root.join("boot").join(format!("vmlinuz-{}", self.release))
    }

    /// Its modules, each with those that it needs, which come first: paths below [`Self::modules`].
    pub(super) fn dependencies(&self) -> Result<Vec<(String, Vec<String>)>> {
        let path = self.modules().join("modules.dep");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let line = |line: &str| {
            let (module, needs) = line.split_once(':')?;
            Some((module.to_owned(), needs.split_whitespace().rev().map(str::to_owned).collect()))
        };
        Ok(text.lines().filter_map(line).collect())
    }

    /// Where its modules are.
    pub(super) fn modules(&self) -> PathBuf {
        self.root.join("lib/modules").join(&self.release)
    }
}

/// The package with the highest number.
fn newest(series: &str) -> Result<String> {
    let known = Tool::new("apt-cache").args(["pkgnames", &format!("linux-image-{series}.")]).output()?;
    let number = |name: &str| -> Option<Vec<u32>> {
        let version = name.strip_prefix("linux-image-")?.strip_suffix("-cloud-amd64")?;
        // One that is signed, and for this Debian: `6.1.0-50`, `6.12.117+deb12`.
        let digits = version.split(|c: char| !c.is_ascii_digit()).map(str::parse).collect::<Result<Vec<u32>, _>>();
        digits.ok()
    };
    let found = known.lines().filter_map(|name| {
        let plain = name.replace("+deb12", "").replace("+bpo", "");
        Some((number(&plain)?, name.to_owned()))
    });
    match found.max() {
        Some((_, name)) => Ok(name),
        None => bail!("there is no package of a kernel {series} for clouds\n  hint: apt-get update; or another series"),
    }
}

/// The one entry of a directory.
fn only(directory: &Path) -> Result<PathBuf> {
    let mut entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?.flatten();
    entries.next().map(|entry| entry.path()).with_context(|| format!("{} is empty", directory.display()))
}
