//! A whole disk: files, names, and which names are durable. Cheap to clone.

use std::collections::BTreeMap;

use super::inode::Inode;
use crate::base::Draw;
use crate::base::fnv64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    File(u64),
    Dir,
}

/// A change of names that only a directory sync makes durable.
#[derive(Clone, Debug)]
enum NameChange {
    Link { path: String, name: Name },
    Unlink { path: String },
    Rename { from: String, to: String },
}

/// How much of what was not synced a crash leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    Nothing,
    Everything,
    /// The first pages of each file, the next one torn.
    Prefix,
    /// The last pages of each file but not the first: later writes overtook earlier ones.
    Suffix,
    /// Each page for itself: kept, lost or torn.
    Subset,
    /// Each page is torn, between sectors.
    Torn,
    /// As a subset, but tears go through the middle of sectors, with garbage between what is new and what is old.
    /// Bytes that the write did not change stay. Drawn by nobody unasked: drives answer a torn sector with a read error,
    /// and a record's CRC, which covers its body alone, cannot tell garbage among its properties.
    Garbled,
    /// Names and lengths are there, what was written is not: zeros, or what was there before.
    Hollow,
    /// Everything that was written is there, but no name that was not synced, and no rename.
    Nameless,
    /// One of the above for each file.
    Drawn,
}

impl Survival {
    /// Every kind that a sound disk may show, once; what is most different first.
    pub const EACH: [Survival; 8] = [
        Survival::Nothing,
        Survival::Everything,
        Survival::Prefix,
        Survival::Suffix,
        Survival::Subset,
        Survival::Torn,
        Survival::Hollow,
        Survival::Nameless,
    ];

    pub(super) fn drawn(draw: Draw, key: u64) -> Survival {
        match draw.range("crash.survival", key, 0, 0, 8) {
            0 => Survival::Nothing,
            1 => Survival::Everything,
            2 | 3 => Survival::Prefix,
            4 => Survival::Suffix,
            _ => Survival::Subset,
        }
    }
}

/// What a crash destroyed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    pub pages_kept: u64,
    pub pages_lost: u64,
    pub pages_torn: u64,
    pub names_lost: u64,
    pub renames_lost: u64,
    pub lengths_cut: u64,
    /// Pages with a sector that is neither the old nor the new one.
    pub pages_garbled: u64,
    /// Files that kept a length they had grown to, and lost data behind the old one.
    pub files_hollow: u64,
}

impl Loss {
    /// What was lost, each kind with the name of its probe.
    pub fn kinds(&self) -> [(&'static str, u64); 7] {
        [
            ("disk.pages_lost", self.pages_lost),
            ("disk.pages_torn", self.pages_torn),
            ("disk.pages_garbled", self.pages_garbled),
            ("disk.names_lost", self.names_lost),
            ("disk.renames_lost", self.renames_lost),
            ("disk.lengths_cut", self.lengths_cut),
            ("disk.files_hollow", self.files_hollow),
        ]
    }

    /// Adds what another crash destroyed.
    pub fn add(&mut self, other: Loss) {
        self.pages_kept += other.pages_kept;
        self.pages_lost += other.pages_lost;
        self.pages_torn += other.pages_torn;
        self.names_lost += other.names_lost;
        self.renames_lost += other.renames_lost;
        self.lengths_cut += other.lengths_cut;
        self.pages_garbled += other.pages_garbled;
        self.files_hollow += other.files_hollow;
    }
}

/// Everything on a disk, cached and durable. Pages are shared with the disk it was taken from.
#[derive(Clone, Debug, Default)]
pub struct DiskImage {
    pub(super) inodes: BTreeMap<u64, Inode>,
    pub(super) names: BTreeMap<String, Name>,
    durable: BTreeMap<String, Name>,
    pending: Vec<NameChange>,
    next_inode: u64,
    /// Some file has no name any more and is kept by a handle, a durable name or a pending change.
    has_unnamed: bool,
}

/// The directory of a path; the root is "".
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl NameChange {
    fn is_in(&self, dir: &str) -> bool {
        match self {
            NameChange::Link { path, .. } | NameChange::Unlink { path } => parent(path) == dir,
            NameChange::Rename { from, to } => parent(from) == dir || parent(to) == dir,
        }
    }

    fn first_dir(&self) -> &str {
        match self {
            NameChange::Link { path, .. } | NameChange::Unlink { path } => parent(path),
            NameChange::Rename { from, .. } => parent(from),
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, Name>) {
        match self {
            NameChange::Link { path, name } => {
                names.insert(path.clone(), *name);
            }
            NameChange::Unlink { path } => {
                names.remove(path);
            }
            NameChange::Rename { from, to } => {
                let Some(name) = names.remove(from) else { return };
                names.insert(to.clone(), name);
                let inside = format!("{from}/");
                let moved: Vec<String> = names
                    .range(inside.clone()..)
                    .map(|(path, _)| path)
                    .take_while(|path| path.starts_with(&inside))
                    .cloned()
                    .collect();
                for path in moved {
                    if let Some(name) = names.remove(&path) {
                        names.insert(format!("{to}/{}", &path[inside.len()..]), name);
                    }
                }
            }
        }
    }
}

impl DiskImage {
    // -- names ----------------------------------------------------------------------------------------

    pub(super) fn is_dir(&self, path: &str) -> bool {
        path.is_empty() || self.names.get(path) == Some(&Name::Dir)
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending.push(change);
    }

    pub(super) fn create_file(&mut self, path: &str) -> u64 {
        self.next_inode += 1;
        let inode = self.next_inode;
        self.inodes.insert(inode, Inode::default());
        self.change(NameChange::Link { path: path.to_owned(), name: Name::File(inode) });
        inode
    }

    pub(super) fn create_dir(&mut self, path: &str) {
        self.change(NameChange::Link { path: path.to_owned(), name: Name::Dir });
    }

    pub(super) fn unlink(&mut self, path: &str) {
        self.change(NameChange::Unlink { path: path.to_owned() });
        self.has_unnamed = true;
        self.forget_unreachable();
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) {
        self.has_unnamed |= self.names.contains_key(to);
        self.change(NameChange::Rename { from: from.to_owned(), to: to.to_owned() });
        self.forget_unreachable();
    }

    /// Entries directly in `dir`, sorted.
    pub(super) fn entries<'a>(&'a self, dir: &str) -> Vec<(&'a str, Name)> {
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let mut entries = Vec::new();
        let mut from = prefix.clone();
        // Jumps over what lies inside each entry: '0' is the character after '/'.
        while let Some((path, name)) = self.names.range(from.clone()..).next() {
            let Some(rest) = path.strip_prefix(&prefix) else { break };
            match rest.split_once('/') {
                None => {
                    entries.push((rest, *name));
                    from = format!("{path}\0");
                }
                Some((entry, _)) => from = format!("{prefix}{entry}0"),
            }
        }
        entries
    }

    /// Makes the changes of names in `dir` durable. Says how many.
    pub(super) fn sync_dir(&mut self, dir: &str) -> u64 {
        let before = self.pending.len();
        let (durable, pending) = (&mut self.durable, &mut self.pending);
        pending.retain(|change| {
            let synced = change.is_in(dir);
            if synced {
                change.apply(durable);
            }
            !synced
        });
        let synced = (before - self.pending.len()) as u64;
        self.forget_unreachable();
        synced
    }

    /// Drops files that no name, durable name, pending change or open handle leads to.
    pub(super) fn forget_unreachable(&mut self) {
        if !self.has_unnamed {
            return;
        }
        let mut reached: Vec<u64> = Vec::new();
        let pending = self.pending.iter().filter_map(|change| match change {
            NameChange::Link { name, .. } => Some(name),
            _ => None,
        });
        for name in self.names.values().chain(self.durable.values()).chain(pending) {
            if let Name::File(inode) = name {
                reached.push(*inode);
            }
        }
        reached.sort_unstable();
        self.inodes.retain(|id, inode| inode.open > 0 || reached.binary_search(id).is_ok());
        let named = self.names.values().filter(|name| matches!(name, Name::File(_))).count();
        self.has_unnamed = self.inodes.len() > named;
    }

    /// Bytes of all files, as a file system without holes counts them.
    pub(super) fn used(&self) -> u64 {
        self.inodes.values().map(Inode::len).sum()
    }

    /// The path of a file, for reports.
    pub(super) fn path_of(&self, inode: u64) -> String {
        let found = self.names.iter().find(|(_, name)| **name == Name::File(inode));
        found.map_or_else(|| format!("(removed file {inode})"), |(path, _)| path.clone())
    }

    /// The file of a path.
    pub(super) fn file_at(&self, path: &str) -> Option<u64> {
        match self.names.get(path)? {
            Name::File(inode) => Some(*inode),
            _ => None,
        }
    }

    // -- crashes --------------------------------------------------------------------------------------

    /// What the machine may find after losing power now. Every draw gives another legal image.
    pub fn crash(&mut self, draw: Draw, survival: Survival) -> Loss {
        let mut loss = Loss::default();
        self.crash_names(draw, survival, &mut loss);
        for (id, inode) in &mut self.inodes {
            inode.crash(draw, *id, survival, &mut loss);
        }
        self.has_unnamed = true;
        self.forget_unreachable();
        loss
    }

    /// Each directory keeps a prefix of its changes, as a journal does.
    fn crash_names(&mut self, draw: Draw, survival: Survival, loss: &mut Loss) {
        let pending = std::mem::take(&mut self.pending);
        let mut in_dir: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for change in &pending {
            in_dir.entry(change.first_dir()).or_insert((0, 0)).0 += 1;
        }
        for (dir, (count, keep)) in &mut in_dir {
            *keep = match survival {
                Survival::Nothing | Survival::Nameless => 0,
                Survival::Everything | Survival::Hollow => *count,
                _ => draw.range("crash.names", fnv64(dir.as_bytes()), 0, 0, *count + 1),
            };
        }
        for change in &pending {
            let Some((_, keep)) = in_dir.get_mut(change.first_dir()) else { continue };
            if *keep > 0 {
                *keep -= 1;
                change.apply(&mut self.durable);
            } else {
                loss.names_lost += 1;
                loss.renames_lost += u64::from(matches!(change, NameChange::Rename { .. }));
            }
        }
        // A name whose directory is gone is gone with it.
        let known = self.durable.clone();
        self.durable.retain(|path, _| {
            let mut dir = parent(path);
            while !dir.is_empty() {
                if known.get(dir) != Some(&Name::Dir) {
                    return false;
                }
                dir = parent(dir);
            }
            true
        });
        self.names = self.durable.clone();
    }

    /// `count` legal images after a power loss now: one of each [`Survival`], then drawn ones.
    pub fn crash_images(&self, seed: u64, count: usize) -> impl Iterator<Item = DiskImage> + '_ {
        (0..count).map(move |n| self.crash_image(seed, n).0)
    }

    /// The `n`th of them, and what was lost on the way to it.
    pub fn crash_image(&self, seed: u64, n: usize) -> (DiskImage, Loss) {
        let draw = Draw::new(seed).domain("crash.images");
        let mut image = self.clone();
        let survival = Survival::EACH.get(n).copied().unwrap_or(Survival::Drawn);
        let loss = image.crash(Draw::new(draw.at("image", 0, n as u64)), survival);
        (image, loss)
    }

    /// Takes a file or a directory with all that is in it from the disk, durably. False when there is none.
    pub fn remove_all(&mut self, path: &str) -> bool {
        let inside = format!("{path}/");
        let stays = |at: &str| at != path && !at.starts_with(&inside);
        let before = self.names.len();
        self.names.retain(|at, _| stays(at));
        self.durable.retain(|at, _| stays(at));
        self.has_unnamed = true;
        self.forget_unreachable();
        self.names.len() < before
    }

    /// Paths and lengths of all files, sorted.
    pub fn files(&self) -> Vec<(String, u64)> {
        let files = self.names.iter().filter_map(|(path, name)| match name {
            Name::File(inode) => Some((path.clone(), self.inodes.get(inode)?.len())),
            Name::Dir => None,
        });
        files.collect()
    }

    /// Pages that a power loss now could lose.
    pub fn dirty_pages(&self) -> usize {
        self.inodes.values().map(Inode::dirty_pages).sum()
    }

    /// What a file holds, as a process would read it.
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        let Some(Name::File(inode)) = self.names.get(path.trim_start_matches('/')) else { return None };
        let inode = self.inodes.get(inode)?;
        inode.read(0, usize::try_from(inode.len()).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_survives_for_sure_only_once_its_directory_is_synced() {
        let mut image = DiskImage::default();
        image.create_dir("a");
        image.create_file("a/x");
        let lost = image.crash_images(1, 1).next().expect("one image");
        assert!(lost.names.is_empty());
        image.sync_dir("");
        image.sync_dir("a");
        assert!(image.crash_images(1, 32).all(|after| after.names.contains_key("a/x")));
    }

    #[test]
    fn a_file_in_a_directory_that_is_lost_is_lost_although_its_own_name_was_synced() {
        let mut image = DiskImage::default();
        image.create_dir("a");
        image.create_file("a/x");
        image.sync_dir("a");
        assert!(image.crash_images(1, 1).all(|after| after.names.is_empty()));
    }

    #[test]
    fn a_rename_is_whole_or_not_at_all() {
        let mut image = DiskImage::default();
        let old = image.create_file("current");
        image.sync_dir("");
        let new = image.create_file("next");
        image.sync_dir("");
        image.rename("next", "current");
        let mut seen = [false; 2];
        for after in image.crash_images(9, 64) {
            let current = after.names.get("current").copied();
            assert!(current == Some(Name::File(old)) || current == Some(Name::File(new)));
            seen[usize::from(current == Some(Name::File(new)))] = true;
        }
        assert_eq!(seen, [true, true]);
    }

    #[test]
    fn a_listing_shows_entries_and_not_what_is_inside_them() {
        let mut image = DiskImage::default();
        for dir in ["q", "q/t", "q/t/0"] {
            image.create_dir(dir);
        }
        image.create_file("q/t/0/file");
        image.create_file("q/t0");
        let names: Vec<&str> = image.entries("q").into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["t", "t0"]);
    }
}
