//! The namespaces that sandboxes' devices are in: their devices and addresses, kept up to date by the kernel's notices.

use super::node::{Held, Node};
use super::reconcile;
use filter_dataplane::{Attachment, Change, Changes, Error, Namespace, Notices, Place, Survey};
use filter_policy::NetnsRef;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What is known of the namespaces.
pub(super) struct Hosts {
    /// Where changes are told.
    pub notices: Notices,
    own: u64,
    followed: HashMap<u64, Followed>,
    by_number: HashMap<Option<i32>, u64>,
    /// What has changed and was not looked at yet.
    pending: Changes,
    /// Devices of sandboxes, by namespace and index, that the kernel has told are gone: what has the index now is another.
    lost: BTreeSet<(u64, u32)>,
}

struct Followed {
    netns: Option<NetnsRef>,
    survey: Survey,
    /// Whether the program of the namespace knows its addresses.
    protected: bool,
    /// Whether a look has failed, and everything must be looked at.
    stale: bool,
}

impl Hosts {
    /// Follows nothing yet.
    pub(super) fn open() -> Result<Hosts, Error> {
        let (notices, own) = (Notices::open()?, Namespace::own()?.inode());
        Ok(Hosts {
            notices,
            own,
            followed: HashMap::new(),
            by_number: HashMap::new(),
            pending: Changes::default(),
            lost: BTreeSet::new(),
        })
    }

    /// The daemon's own namespace.
    pub(super) fn own(&self) -> u64 {
        self.own
    }

    /// What is known of a namespace that is followed.
    pub(super) fn survey(&self, inode: u64) -> Option<&Survey> {
        self.followed.get(&inode).map(|followed| &followed.survey)
    }

    fn forget(&mut self, inode: u64) {
        if let Some(Followed { survey, .. }) = self.followed.remove(&inode) {
            self.by_number.remove(&survey.number());
        }
    }
}

impl Node {
    /// Follows a namespace, from now on if it was not followed.
    pub(super) fn follow(&mut self, netns: Option<&NetnsRef>) -> Result<u64, Error> {
        let namespace = Namespace::find_or_own(netns)?;
        let inode = namespace.inode();
        if let Some(followed) = self.hosts.followed.get_mut(&inode) {
            followed.netns = netns.cloned();
            return Ok(inode);
        }
        let mut survey = Survey::begin(&namespace)?;
        survey.refresh_all(&namespace)?;
        self.hosts.by_number.insert(survey.number(), inode);
        let followed = Followed { netns: netns.cloned(), survey, protected: false, stale: false };
        self.hosts.followed.insert(inode, followed);
        Ok(inode)
    }

    /// Tells the program of a namespace that is followed which addresses are the host's there.
    pub(super) fn protect_host(&mut self, inode: u64) -> Result<(), Error> {
        if let Some(followed) = self.hosts.followed.get_mut(&inode).filter(|followed| !followed.protected) {
            let addresses: Vec<_> = followed.survey.addresses().copied().collect();
            self.dataplane.protect_host(inode, &[], &addresses)?;
            followed.protected = true;
        }
        Ok(())
    }

    /// Ends following a namespace without sandboxes. The program that knew its addresses is gone with the last one.
    pub(super) fn unfollow_if_empty(&mut self, inode: u64) {
        if inode != self.hosts.own && self.index.in_namespace(inode).next().is_none() {
            self.hosts.forget(inode);
        }
    }

    /// Takes note of everything that has changed about devices and addresses until now.
    pub(super) fn catch_up(&mut self) -> Result<(), Error> {
        self.hear()?;
        let changes = std::mem::take(&mut self.hosts.pending);
        // Whatever comes of that, what else has changed is followed.
        if changes.rules
            && let Err(error) = self.mend_routes()
        {
            tracing::error!(%error, "cannot look at rules and routes; trying again");
        }
        if changes.lost {
            self.lose_the_bare();
        }
        for number in changes.vanished {
            if let Some(inode) = self.hosts.by_number.get(&Some(number)).copied() {
                self.hosts.forget(inode);
                self.check_all_in(inode);
            }
        }
        let mut devices: BTreeMap<u64, BTreeSet<u32>> = BTreeMap::new();
        for (number, ifindex) in changes.devices {
            if let Some(inode) = self.hosts.by_number.get(&number) {
                devices.entry(*inode).or_default().insert(ifindex);
            }
        }
        let all: Vec<u64> =
            self.hosts.followed.iter().filter(|(_, f)| changes.lost || f.stale).map(|(i, _)| *i).collect();
        for inode in all {
            devices.insert(inode, BTreeSet::new());
        }
        for (inode, indexes) in devices {
            let indexes: Vec<u32> = indexes.into_iter().collect();
            match self.look_at(inode, &indexes) {
                Ok(found) => found.into_iter().for_each(|change| self.follow_change(inode, &change)),
                Err(error) => {
                    tracing::error!(%error, inode, "cannot look at a namespace; trying again");
                    if let Some(followed) = self.hosts.followed.get_mut(&inode) {
                        followed.stale = true;
                    }
                }
            }
        }
        for (number, ifindex) in changes.filters {
            let inode = self.hosts.by_number.get(&number);
            if let Some(id) = inode.and_then(|inode| self.index.at(*inode, ifindex)).map(str::to_owned) {
                self.check(&id);
            }
        }
        for (number, ifindex) in changes.removed {
            let inode = self.hosts.by_number.get(&number);
            if let Some(id) = inode.and_then(|inode| self.index.at(*inode, ifindex)).map(str::to_owned) {
                self.check(&id);
            }
        }
        Ok(())
    }

    /// Whether the kernel has told that a device is gone: one that has its index now is another.
    pub(super) fn has_lost(&mut self, place: Place) -> Result<bool, Error> {
        self.hear()?;
        Ok(self.hosts.lost.contains(&(place.netns_inode, place.ifindex)))
    }

    /// Takes note that a device is a sandbox's from now on.
    pub(super) fn found(&mut self, place: Place) {
        self.hosts.lost.remove(&(place.netns_inode, place.ifindex));
    }

    /// Takes in what the kernel tells, for [`Self::catch_up`] to look at.
    fn hear(&mut self) -> Result<(), Error> {
        let changes = self.hosts.notices.drain()?;
        for (number, ifindex) in &changes.removed {
            if let Some(inode) =
                self.hosts.by_number.get(number).filter(|inode| self.index.at(**inode, *ifindex).is_some())
            {
                self.hosts.lost.insert((*inode, *ifindex));
            }
        }
        for number in &changes.vanished {
            if let Some(inode) = self.hosts.by_number.get(&Some(*number)).copied() {
                let places = self.index.in_namespace(inode).filter_map(|id| self.sandboxes.get(id)).map(Held::place);
                self.hosts.lost.extend(places.map(|place| (inode, place.ifindex)));
            }
        }
        self.hosts.pending.add(changes);
        Ok(())
    }

    /// After notices were lost: a device without hooks may be another than it was, and is not made a sandbox's.
    fn lose_the_bare(&mut self) {
        let places = self.sandboxes.values().filter(|held| !held.gone).map(Held::place);
        let is_bare = |place: &Place| self.dataplane.attachment(*place).is_ok_and(|how| how == Attachment::Bare);
        let bare: Vec<Place> = places.filter(is_bare).collect();
        self.hosts.lost.extend(bare.into_iter().map(|place| (place.netns_inode, place.ifindex)));
    }

    /// Looks at devices of a namespace, or at all when none is named.
    fn look_at(&mut self, inode: u64, indexes: &[u32]) -> Result<Vec<Change>, Error> {
        let Some(Followed { netns, survey, protected, stale }) = self.hosts.followed.get_mut(&inode) else {
            return Ok(Vec::new());
        };
        let namespace = match Namespace::find_or_own(netns.as_ref()) {
            Ok(namespace) if namespace.inode() == inode => namespace,
            // The namespace lost its name or is gone; what is protected there stays.
            _ => return Ok(Vec::new()),
        };
        let changes = match indexes {
            [] => survey.refresh_all(&namespace)?,
            some => survey.refresh(&namespace, some)?,
        };
        *stale = false;
        if *protected {
            for Change { before, now, .. } in changes.iter().filter(|change| change.before != change.now) {
                self.dataplane.protect_host(inode, before, now)?;
            }
        }
        Ok(changes)
    }

    /// Follows what a changed device means for the sandboxes that it belongs to.
    fn follow_change(&mut self, inode: u64, Change { ifindex, gone, .. }: &Change) {
        let Some(survey) = self.hosts.survey(inode) else { return };
        let mut about: Vec<(u32, Option<_>)> =
            survey.ports(*ifindex).map(|port| (port, survey.gateway(port))).collect();
        about.push((*ifindex, survey.gateway(*ifindex)));
        for (ifindex, gateway) in about {
            let Some(id) = self.index.at(inode, ifindex).map(str::to_owned) else { continue };
            let followed = match gateway {
                Some(gateway) if !gone => reconcile::follow_gateway(self, &id, gateway),
                _ => reconcile::check(self, &id),
            };
            if let Err(error) = followed {
                tracing::error!(id, "cannot follow a change of its device: {error:#}");
            }
        }
    }

    fn check_all_in(&mut self, inode: u64) {
        let ids: Vec<String> = self.index.in_namespace(inode).map(str::to_owned).collect();
        ids.iter().for_each(|id| self.check(id));
    }

    fn check(&mut self, id: &str) {
        if let Err(error) = reconcile::check(self, id) {
            tracing::error!(id, "cannot look at its device: {error:#}");
        }
    }
}
