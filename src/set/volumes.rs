//! The static volumes of a set: which of them are taken back from a claim that is gone, and which are refused because they
//! are somebody else's, lead elsewhere, or lead into another set's folders.

use std::fmt;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::Value;

use super::plan::{INSTANCE, MANAGED_BY, foreign_owner};
use crate::manifests::Names;

/// The label that marks the objects of a trial, and its value: they lead where the set's own volumes lead, for a moment.
pub const TRIAL: (&str, &str) = ("app.kubernetes.io/component", "trial");

// ---- where a volume leads -------------------------------------------------------------------------------------------

/// Where a volume's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Nfs { server: String, path: String },
    Host { path: String },
}

impl Place {
    /// Reads it from a PersistentVolume; `None` for volumes that are no folder somebody else could share.
    #[must_use]
    pub fn of(volume: &Value) -> Option<Self> {
        let spec = &volume["spec"];
        let nfs = |server: &Value, path: &str| Some(Self::Nfs { server: host(server.as_str()?), path: folder(path) });
        if let Some(path) = spec["nfs"]["path"].as_str() {
            return nfs(&spec["nfs"]["server"], path);
        }
        if spec["csi"]["driver"] == "nfs.csi.k8s.io" {
            let attributes = &spec["csi"]["volumeAttributes"];
            let below = attributes["subdir"].as_str().unwrap_or_default();
            return nfs(&attributes["server"], &format!("{}/{below}", attributes["share"].as_str()?));
        }
        let path = spec["hostPath"]["path"].as_str().or_else(|| spec["local"]["path"].as_str())?;
        Some(Self::Host { path: folder(path) })
    }

    /// What of `inner` lies below this folder: empty for the same one, `None` when it is not in it.
    fn below(&self, inner: &Self) -> Option<String> {
        let (outer, inner) = match (self, inner) {
            (Self::Nfs { server, path }, Self::Nfs { server: other, path: inner }) if server == other => (path, inner),
            (Self::Host { path }, Self::Host { path: inner }) => (path, inner),
            _ => return None,
        };
        let rest = inner.strip_prefix(outer.trim_end_matches('/'))?;
        (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_matches('/').to_owned())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nfs { server, path } if server.contains(':') => write!(f, "[{server}]:{path}"),
            Self::Nfs { server, path } => write!(f, "{server}:{path}"),
            Self::Host { path } => write!(f, "{path} on the node"),
        }
    }
}

/// A server however it is written: host names have no case, and an IPv6 address has many forms.
fn host(server: &str) -> String {
    let bare = server.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => bare.trim_end_matches('.').to_ascii_lowercase(),
    }
}

/// A folder without the slashes and dots that change nothing.
fn folder(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    format!("/{}", parts.join("/"))
}

// ---- a volume of the set's that exists already ----------------------------------------------------------------------

/// A volume of the set's that Kubernetes keeps for a claim that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retake {
    pub volume: String,
    /// The claim that had it, and will have it again: `namespace/name`.
    pub claim: String,
    /// That claim's uid, by which the volume is held.
    pub uid: String,
}

/// Why a volume that exists cannot be the set's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It does not carry the set's labels. With where it leads, where it should, and the claim that has it.
    Foreign { owner: String, there: String, here: String, claim: Option<String> },
    /// It is the set's, and another claim's.
    Claimed { by: String, wanted: String },
    /// It leads elsewhere, which nobody can change.
    Elsewhere { there: String, here: String },
    /// It is being deleted, and no claim of the set's holds it.
    Going,
}

impl Unfit {
    /// One sentence about the volume, with both sides where there are two.
    #[must_use]
    pub fn words(&self, volume: &str) -> String {
        match self {
            Self::Foreign { owner, there, here, claim } => {
                let claimed = claim.as_ref().map_or_else(String::new, |claim| format!(", is claimed by {claim}"));
                format!(
                    "PersistentVolume {volume} exists and is not this set's: it belongs to {owner}{claimed} and leads to {there}; this set's leads to {here}"
                )
            }
            Self::Claimed { by, wanted } => {
                format!("PersistentVolume {volume} is kept for claim {by}, and this set's claim is {wanted}")
            }
            Self::Elsewhere { there, here } => format!(
                "PersistentVolume {volume} leads to {there}, and these settings lead to {here}: Kubernetes lets nobody change that"
            ),
            Self::Going => format!("PersistentVolume {volume} is being deleted"),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hints(&self, volume: &str) -> Vec<String> {
        match self {
            Self::Foreign { .. } => vec![
                "choose another name with --name, or another namespace with -n: its volumes then have names of their own"
                    .to_owned(),
                format!("or, if nobody needs it (the files behind it stay): kubectl delete pv {volume}"),
            ],
            Self::Claimed { .. } => vec![
                "choose another name with --name, or the --layout that the set had".to_owned(),
                format!("or, if that claim is gone for good (the files stay): kubectl delete pv {volume}"),
            ],
            Self::Elsewhere { there, .. } => vec![
                format!("bring the set up where its volume leads, {there}, with --nfs-server, --nfs-path or --host-path"),
                format!("or, if the set is to start anew elsewhere (the files stay): kubectl delete pv {volume}"),
            ],
            Self::Going => vec![format!(
                "wait until it is gone, then repeat; what holds it: kubectl get pv {volume} -o jsonpath='{{.metadata.finalizers}}'"
            )],
        }
    }
}

/// Whether a volume that exists can be the set's: `None` when it is as it should be, else what has to be done before.
/// `claims` are the set's.
///
/// # Errors
/// It is somebody else's, leads elsewhere, or is going.
pub fn usable(
    set: &str,
    wanted: &Value,
    live: &Value,
    claims: &[PersistentVolumeClaim],
) -> Result<Option<Retake>, Unfit> {
    let place =
        |volume: &Value| Place::of(volume).map_or_else(|| "another kind of storage".to_owned(), |p| p.to_string());
    let (there, here) = (place(live), place(wanted));
    let holder = claim_of(live);
    if let Some(owner) = foreign_owner(set, live) {
        return Err(Unfit::Foreign { owner, there, here, claim: holder });
    }
    let uid = live["spec"]["claimRef"]["uid"].as_str().filter(|uid| !uid.is_empty());
    if let Some((by, wanted)) = holder.clone().zip(claim_of(wanted))
        && by != wanted
        // Nobody has had it yet, and it is this namespace's: another layout may have it.
        && (uid.is_some() || by.split('/').next() != wanted.split('/').next())
    {
        return Err(Unfit::Claimed { by, wanted });
    }
    if Place::of(live) != Place::of(wanted) {
        return Err(Unfit::Elsewhere { there, here });
    }
    let claim = claims.iter().find(|claim| {
        let name = live["spec"]["claimRef"]["name"].as_str();
        name.is_some() && claim.metadata.name.as_deref() == name
    });
    let bound = claim.and_then(|claim| claim.spec.as_ref()?.volume_name.as_deref()).filter(|name| !name.is_empty());
    let is_claims = uid.is_some() && claim.and_then(|claim| claim.metadata.uid.as_deref()) == uid;
    if is_claims {
        return Ok(None);
    }
    if !live["metadata"]["deletionTimestamp"].is_null() {
        return Err(Unfit::Going);
    }
    // A claim that has a volume needs no other one.
    let released = live["status"]["phase"] == "Released" && bound.is_none();
    Ok(uid.zip(holder).filter(|_| released).map(|(uid, claim)| Retake {
        volume: live["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
        claim,
        uid: uid.to_owned(),
    }))
}

/// The claim that a volume is kept for: `namespace/name`.
fn claim_of(volume: &Value) -> Option<String> {
    let claim = &volume["spec"]["claimRef"];
    Some(format!("{}/{}", claim["namespace"].as_str()?, claim["name"].as_str()?))
}

// ---- volumes of others ----------------------------------------------------------------------------------------------

/// A volume of somebody else's that leads into the set's folder, or into which the set's leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    pub volume: String,
    /// Such as `set orders in namespace shop`.
    pub owner: String,
    pub place: Place,
    /// Whether both lead to the very same folder; else one leads into a member's folder of the other.
    pub same: bool,
}

/// Whether `other` is a volume of somebody else's whose files `ours`, a volume of this set's, would meet.
///
/// A folder below another set's is its own, but for the members' folders there.
#[must_use]
pub fn neighbour(names: &Names, ours: &Value, other: &Value) -> Option<Neighbour> {
    let label = |name: &str| other["metadata"]["labels"][name].as_str();
    let of_pgset = label(MANAGED_BY.0) == Some(MANAGED_BY.1);
    if of_pgset && (label(TRIAL.0) == Some(TRIAL.1) || is_own(names, other)) {
        return None;
    }
    let volume = other["metadata"]["name"].as_str().unwrap_or_default();
    let (here, there) = (Place::of(ours)?, Place::of(other)?);
    let their_set = label(INSTANCE).filter(|_| of_pgset);
    let same = here == there;
    let into_ours = here.below(&there).is_some_and(|below| leads_into_member(names.set(), &below));
    let into_theirs = their_set.zip(there.below(&here)).is_some_and(|(set, below)| leads_into_member(set, &below));
    if !same && !into_ours && !into_theirs {
        return None;
    }
    let owner = match (their_set, other["spec"]["claimRef"]["namespace"].as_str(), claim_of(other)) {
        (Some(set), Some(namespace), _) => format!("set {set} in namespace {namespace}"),
        (_, _, Some(claim)) => format!("claim {claim}"),
        _ => foreign_owner(names.set(), other).unwrap_or_else(|| format!("set {}", names.set())),
    };
    Some(Neighbour { volume: volume.to_owned(), owner, place: there, same })
}

/// A volume of this very set: its labels, its namespace and one of its claims.
fn is_own(names: &Names, volume: &Value) -> bool {
    let claim = &volume["spec"]["claimRef"];
    let name = claim["name"].as_str().unwrap_or_default();
    let members = format!("{}-{}-", names.claim_template(), names.set());
    let is_ours =
        name == names.shared_claim() || name.strip_prefix(&members).is_some_and(|digits| digits.parse::<u8>().is_ok());
    foreign_owner(names.set(), volume).is_none() && claim["namespace"] == names.namespace() && is_ours
}

/// Whether a path below a set's folder begins with a member's: `pgset-0`, and what is set aside beside it.
fn leads_into_member(set: &str, below: &str) -> bool {
    let first = below.split('/').next().unwrap_or_default();
    let number = first.strip_prefix(set).and_then(|rest| rest.strip_prefix('-'));
    number.is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit()))
}

impl Neighbour {
    /// One sentence.
    #[must_use]
    pub fn words(&self) -> String {
        let Self { volume, owner, place, same } = self;
        let what = if *same { "to the same folder" } else { "into the folders of members" };
        format!("PersistentVolume {volume} leads {owner} {what}, {place}: both would write to each other's data")
    }

    /// What to do about it, for the set of this name.
    #[must_use]
    pub fn hints(&self, set: &str) -> Vec<String> {
        let (flag, path) = match &self.place {
            Place::Nfs { path, .. } => ("--nfs-path", path),
            Place::Host { path } => ("--host-path", path),
        };
        let below = format!("{}/{set}", path.trim_end_matches('/'));
        vec![
            format!("give this set a folder of its own, which has to exist: mkdir {below} there, then {flag} {below}"),
            format!("if {} is gone for good, move its data away, then: kubectl delete pv {}", self.owner, self.volume),
        ]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names() -> Names {
        Names::new(&"pgset".parse().unwrap(), &"shop".parse().unwrap())
    }

    fn labels(set: &str) -> Value {
        json!({MANAGED_BY.0: MANAGED_BY.1, INSTANCE: set, "app": set})
    }

    fn nfs(path: &str) -> Value {
        json!({"nfs": {"server": "10.0.0.5", "path": path}})
    }

    /// A volume with these labels, for a claim with this uid, in this phase.
    fn volume(labels: Value, claim: &str, uid: &str, phase: &str, source: Value) -> Value {
        let (namespace, name) = claim.split_once('/').unwrap();
        let mut spec = json!({"claimRef": {"namespace": namespace, "name": name}});
        if !uid.is_empty() {
            spec["claimRef"]["uid"] = uid.into();
        }
        spec.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
        json!({"metadata": {"name": "shop.pgset.pv1", "labels": labels}, "spec": spec, "status": {"phase": phase}})
    }

    fn ours(uid: &str, phase: &str) -> Value {
        volume(labels("pgset"), "shop/pgset-pvc", uid, phase, nfs("/pg"))
    }

    fn claim(uid: &str, bound: Option<&str>) -> PersistentVolumeClaim {
        let claim = json!({"metadata": {"name": "pgset-pvc", "uid": uid}, "spec": {"volumeName": bound}});
        serde_json::from_value(claim).unwrap()
    }

    fn judged(live: &Value, claims: &[PersistentVolumeClaim]) -> Result<Option<Retake>, Unfit> {
        usable("pgset", &ours("", ""), live, claims)
    }

    #[test]
    fn a_volume_is_taken_back_only_from_a_claim_that_is_gone() {
        let retake =
            Retake { volume: "shop.pgset.pv1".to_owned(), claim: "shop/pgset-pvc".to_owned(), uid: "old".to_owned() };
        assert_eq!(judged(&ours("old", "Released"), &[]), Ok(Some(retake.clone())));
        // A new claim of the same name waits for it.
        assert_eq!(judged(&ours("old", "Released"), &[claim("new", None)]), Ok(Some(retake.clone())));
        assert_eq!(judged(&ours("old", "Released"), &[claim("new", Some(""))]), Ok(Some(retake)));
        // It has another one: this one is not needed.
        assert_eq!(judged(&ours("old", "Released"), &[claim("new", Some("shop.pgset.pv2"))]), Ok(None));
        assert_eq!(judged(&ours("same", "Bound"), &[claim("same", Some("shop.pgset.pv1"))]), Ok(None));
        assert_eq!(judged(&ours("", "Available"), &[]), Ok(None));
        // A claim without the set's label is not in the list: the phase says that it is there.
        assert_eq!(judged(&ours("unknown", "Bound"), &[]), Ok(None));
        // A manifest without a claimRef, as in a checkout taken as it is.
        let mut wanted = ours("", "");
        wanted["spec"].as_object_mut().unwrap().remove("claimRef");
        assert!(usable("pgset", &wanted, &ours("old", "Released"), &[]).unwrap().is_some());
    }

    #[test]
    fn what_is_somebody_elses_is_never_taken_back_and_both_sides_are_told() {
        let unlabelled = volume(json!({"app": "pgset"}), "default/theirs", "old", "Released", nfs("/other"));
        let unfit = judged(&unlabelled, &[]).unwrap_err();
        let words = unfit.words("pv1");
        for part in ["pv1", "somebody else", "claimed by default/theirs", "10.0.0.5:/other", "10.0.0.5:/pg"] {
            assert!(words.contains(part), "{part}: {words}");
        }
        assert!(unfit.hints("pv1").iter().any(|hint| hint.contains("kubectl delete pv pv1")));
        let other_set = volume(labels("orders"), "shop/pgset-pvc", "old", "Released", nfs("/pg"));
        assert!(judged(&other_set, &[]).unwrap_err().words("v").contains("set orders of pgset"));
        // Our labels, but the claim of another namespace, of another name, with and without a uid.
        for (by, uid) in [("bank/pgset-pvc", "old"), ("bank/pgset-pvc", ""), ("shop/orders-pvc", "old")] {
            let live = volume(labels("pgset"), by, uid, "Released", nfs("/pg"));
            let unfit = judged(&live, &[]).unwrap_err();
            assert_eq!(unfit, Unfit::Claimed { by: by.to_owned(), wanted: "shop/pgset-pvc".to_owned() });
            assert!(unfit.words("v").contains(by));
        }
        // Nobody has had it: the other layout may.
        let unused = volume(labels("pgset"), "shop/pgdata-pgset-0", "", "Available", nfs("/pg"));
        assert_eq!(judged(&unused, &[]), Ok(None));
    }

    #[test]
    fn a_volume_that_leads_elsewhere_is_refused_with_both_sides() {
        for (source, there) in [
            (nfs("/other"), "10.0.0.5:/other"),
            (json!({"nfs": {"server": "10.0.0.6", "path": "/pg"}}), "10.0.0.6:/pg"),
            (json!({"hostPath": {"path": "/pg"}}), "/pg on the node"),
            (json!({"csi": {"driver": "x"}}), "another kind of storage"),
        ] {
            for phase in ["Available", "Released", "Bound"] {
                let live = volume(labels("pgset"), "shop/pgset-pvc", "old", phase, source.clone());
                let words = judged(&live, &[]).unwrap_err().words("v");
                assert!(words.contains(there) && words.contains("10.0.0.5:/pg"), "{words}");
            }
        }
        // The same place, written otherwise.
        let live = volume(labels("pgset"), "shop/pgset-pvc", "", "Available", nfs("//pg/./"));
        assert_eq!(judged(&live, &[]), Ok(None));
    }

    #[test]
    fn a_volume_that_is_going_is_waited_for_unless_the_claim_has_it() {
        let mut live = ours("old", "Released");
        live["metadata"]["deletionTimestamp"] = "2026-11-24T12:00:00Z".into();
        assert_eq!(judged(&live, &[]), Err(Unfit::Going));
        assert_eq!(judged(&live, &[claim("old", Some("shop.pgset.pv1"))]), Ok(None));
    }

    #[test]
    fn one_folder_is_one_sets() {
        let mine = ours("", "");
        let other = |labels: Value, claim: &str, source: Value| volume(labels, claim, "u", "Bound", source);
        let meets = |other: &Value| neighbour(&names(), &mine, other);
        for (theirs, owner) in [
            (other(labels("pgset"), "bank/pgset-pvc", nfs("/pg")), "set pgset in namespace bank"),
            (other(labels("orders"), "shop/orders-pvc", nfs("/pg/")), "set orders in namespace shop"),
            (other(json!({}), "default/theirs", nfs("/pg")), "claim default/theirs"),
            (
                json!({"metadata": {"name": "pv1", "managedFields": [{"manager": "kubectl-create"}]}, "spec": nfs("/pg")}),
                "field manager kubectl-create",
            ),
            (
                json!({"metadata": {"name": "csi"}, "spec": {"csi": {"driver": "nfs.csi.k8s.io",
                    "volumeAttributes": {"server": "10.0.0.5", "share": "/", "subdir": "pg"}}}}),
                "somebody else",
            ),
        ] {
            let found = meets(&theirs).unwrap();
            assert_eq!(found.owner, owner);
            assert!(found.same && found.words().contains(owner), "{}", found.words());
            assert!(found.hints("pgset")[0].contains("--nfs-path /pg/pgset"), "{:?}", found.hints("pgset"));
        }
        for free in [
            other(labels("pgset"), "shop/pgset-pvc", nfs("/pg")),
            other(labels("pgset"), "shop/pgdata-pgset-7", nfs("/pg")),
            other(labels("orders"), "shop/orders-pvc", nfs("/pg/orders")),
            other(labels("orders"), "shop/orders-pvc", nfs("/pg2")),
            other(labels("orders"), "shop/orders-pvc", nfs("/")),
            other(labels("pgset"), "bank/pgset-pvc", json!({"nfs": {"server": "10.0.0.6", "path": "/pg"}})),
            other(labels("pgset"), "bank/pgset-pvc", json!({"hostPath": {"path": "/pg"}})),
            json!({"spec": {"csi": {}}}),
            json!(null),
        ] {
            assert_eq!(meets(&free), None, "{free}");
        }
        let mut trial = other(labels("orders"), "bank/orders-trial", nfs("/pg"));
        trial["metadata"]["labels"][TRIAL.0] = TRIAL.1.into();
        assert_eq!(meets(&trial), None);
    }

    #[test]
    fn nobody_goes_into_a_members_folder() {
        let mine = ours("", "");
        let theirs = volume(labels("orders"), "bank/orders-pvc", "u", "Bound", nfs("/pg/pgset-0/x"));
        let found = neighbour(&names(), &mine, &theirs).unwrap();
        assert!(!found.same && found.words().contains("into the folders of members"));
        let deep = volume(labels("pgset"), "shop/pgset-pvc", "", "", nfs("/all/orders-1"));
        let theirs = volume(labels("orders"), "bank/orders-pvc", "u", "Bound", nfs("/all"));
        assert!(neighbour(&names(), &deep, &theirs).is_some());
        // Of a volume that is not pgset's nobody knows what is in it.
        let theirs = volume(json!({}), "bank/orders-pvc", "u", "Bound", nfs("/all"));
        assert_eq!(neighbour(&names(), &deep, &theirs), None);
    }

    #[test]
    fn servers_are_the_same_however_they_are_written() {
        let at = |server: &str| Place::of(&json!({"spec": {"nfs": {"server": server, "path": "/"}}})).unwrap();
        assert_eq!(at("NAS.example."), at("nas.example"));
        assert_eq!(at("[fd00::0:1]"), at("fd00::1"));
        assert_eq!(at("fd00::1").to_string(), "[fd00::1]:/");
        assert_ne!(at("10.0.0.1"), at("10.0.0.10"));
    }
}
