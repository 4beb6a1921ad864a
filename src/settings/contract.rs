//! What a Crunchy container image expects and does, by its version: the one table that knows.
//!
//! The images' start scripts changed their names and manners often between 2017 and 2021. Everything here was read from
//! the scripts of the tags named beside it.

use std::fmt;
use std::str::FromStr;

use super::types::{Image, Invalid, RoleBy, SetName};

/// The version of the Crunchy container suite: the last part of an image's tag, such as `1.2.6` in
/// `centos7-9.5-1.2.6`. Not PostgreSQL's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CrunchyVersion {
    major: u16,
    minor: u16,
    patch: u16,
}

impl CrunchyVersion {
    const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch }
    }

    /// The version in an image's tag: `OS-POSTGRESQL-VERSION`, a release candidate's `-rc1` left out. `None` where the tag
    /// does not end like that.
    #[must_use]
    pub fn of_tag(tag: &str) -> Option<Self> {
        let parts: Vec<&str> = tag.split('-').collect();
        let marked = |part: &&str| ["rc", "beta", "alpha"].iter().any(|mark| part.starts_with(mark));
        let parts: Vec<&str> = parts.into_iter().filter(|part| !marked(part)).collect();
        // Two numbers are a version only where PostgreSQL's stands before them: `centos7-9.5` has none.
        match parts.as_slice() {
            [_, .., postgres, version] if postgres.starts_with(|c: char| c.is_ascii_digit()) => version.parse().ok(),
            _ => None,
        }
    }
}

impl FromStr for CrunchyVersion {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong =
            || Invalid { reason: "expected the version at the end of the image's tag, such as 1.2.7".to_owned() };
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let number = |text: &str| text.parse::<u16>().ok().filter(|_| digits(text)).ok_or_else(wrong);
        let parts: Vec<&str> = text.split('.').collect();
        match parts.as_slice() {
            [major, minor] => Ok(Self::new(number(major)?, number(minor)?, 0)),
            [major, minor, patch] => Ok(Self::new(number(major)?, number(minor)?, number(patch)?)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for CrunchyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// How the image calls the two roles, in variables, modes and folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// `PG_MASTER_*`, `PG_MODE=master` and `slave`, `/pgmaster`.
    Master,
    /// `PG_PRIMARY_*`, `PG_MODE=primary` and `replica`, `/pgprimary`.
    Primary,
}

impl Words {
    /// The prefix of the variables about the primary: `PG_MASTER` or `PG_PRIMARY`.
    #[must_use]
    pub fn variable(self) -> &'static str {
        match self {
            Self::Master => "PG_MASTER",
            Self::Primary => "PG_PRIMARY",
        }
    }

    /// `PG_MODE` of the primary.
    #[must_use]
    pub fn primary_mode(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Primary => "primary",
        }
    }

    /// `PG_MODE` of a replica.
    #[must_use]
    pub fn replica_mode(self) -> &'static str {
        match self {
            Self::Master => "slave",
            Self::Primary => "replica",
        }
    }

    /// Where the replication role's `username` and `password` are looked for: `/pgmaster` or `/pgprimary`.
    #[must_use]
    pub fn secret_folder(self) -> &'static str {
        match self {
            Self::Master => "/pgmaster",
            Self::Primary => "/pgprimary",
        }
    }

    /// The replication role: what the seed, and the later examples, called it.
    #[must_use]
    pub fn replication_user(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Primary => "primaryuser",
        }
    }
}

/// What `PG_MODE=set` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetMode {
    /// There is no such mode: the script says FATAL and an empty server runs on, or ends.
    None,
    /// kubectl in the image reads the pod and patches its label. A failure is ignored.
    Kubectl,
    /// `pgc` in the image reads the pod and writes it back whole, in the namespace of `CCP_NAMESPACE`. It loses the fields
    /// it does not know, and the API server refuses a pod whose fields change.
    Pgc,
}

/// Which labels `PG_MODE=set` puts on pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels {
    /// `name=` the Service of the primary, on pod 0 only.
    Primary,
    /// On the replicas `name=$PG_REPLICA_HOST` as well.
    Both,
}

/// The contract of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contract {
    /// `None` where it could not be told: everything else is the newest behaviour then.
    pub version: Option<CrunchyVersion>,
    pub words: Words,
    pub set_mode: SetMode,
    pub labels: Labels,
    /// Whether `PG_MODE=set` finds the ordinal in a pod's name that has more than one hyphen.
    pub hyphens: bool,
    /// Whether `PG_MASTER_PORT` or `PG_PRIMARY_PORT` has to be set even on the primary.
    pub port_mandatory: bool,
    /// The folder of `start.sh`, `setenv.sh`, `readiness.sh` and `liveness.sh`.
    pub programs: &'static str,
    /// Whether the image's one entry script wants `MODE=postgres`.
    pub mode_variable: bool,
}

/// Where the user's and the superuser's `username` and `password` are looked for, in every version.
pub const USER_FOLDER: &str = "/pguser";
/// See [`USER_FOLDER`].
pub const SUPERUSER_FOLDER: &str = "/pgroot";

impl Contract {
    /// The contract of an image: by the version that was given, else by its tag.
    #[must_use]
    pub fn of(image: &Image, version: Option<CrunchyVersion>) -> Self {
        Self::by_version(version.or_else(|| CrunchyVersion::of_tag(image.tag()?)))
    }

    /// The contract of a version; the newest for an unknown one.
    #[must_use]
    pub fn by_version(version: Option<CrunchyVersion>) -> Self {
        const fn v(major: u16, minor: u16, patch: u16) -> CrunchyVersion {
            CrunchyVersion::new(major, minor, patch)
        }
        let known = version.unwrap_or(v(u16::MAX, 0, 0));
        let set_mode = match known {
            known if known < v(1, 2, 7) => SetMode::None,
            known if known < v(2, 2, 0) => SetMode::Kubectl,
            known if known < v(4, 5, 0) => SetMode::Pgc,
            _ => SetMode::None,
        };
        Self {
            version,
            words: if known < v(1, 6, 0) { Words::Master } else { Words::Primary },
            set_mode,
            labels: if known < v(1, 8, 2) { Labels::Primary } else { Labels::Both },
            hyphens: known >= v(1, 5, 0),
            port_mandatory: known >= v(1, 8, 2),
            programs: if known < v(4, 6, 0) { "/opt/cpm/bin" } else { "/opt/crunchy/bin/postgres" },
            mode_variable: known >= v(4, 6, 0),
        }
    }

    /// How the members' roles are chosen unless a person says otherwise: by the image itself where that works on today's
    /// clusters, and for this set.
    #[must_use]
    pub fn role_by(&self, set: &SetName) -> RoleBy {
        let works = self.set_mode == SetMode::Kubectl && (self.hyphens || !set.as_str().contains('-'));
        if works { RoleBy::Image } else { RoleBy::Ordinal }
    }

    /// Whether the image can choose the roles of this set by itself.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    pub fn check_image_roles(&self, set: &SetName) -> Result<(), Invalid> {
        let version = self.version.map_or("of a tag like this one".to_owned(), |version| version.to_string());
        let reason = if self.set_mode == SetMode::None {
            format!("the Crunchy image {version} has no PG_MODE=set")
        } else if !self.hyphens && set.as_str().contains('-') {
            format!(
                "the Crunchy image {version} takes the second word of a pod's name for its number, and the set's name \
                 `{set}` has a hyphen"
            )
        } else {
            return Ok(());
        };
        Err(Invalid { reason })
    }

    /// What a person should know before using the image, one sentence each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.version.is_none() {
            warnings.push(
                "the image's tag does not tell its version, so it is taken for the newest: give --crunchy-version"
                    .to_owned(),
            );
        }
        warnings.push(
            "Crunchy's container images of this kind are no longer maintained, and neither is the PostgreSQL in most of \
             them: --image postgres:17 with a new --name, then pg_dump and restore, is the way on"
                .to_owned(),
        );
        warnings
    }

    /// Whether the pods may have what PodSecurity's level "restricted" wants and all that newer Kubernetes offers. Not where
    /// `pgc` would lose it when it writes the pod back.
    #[must_use]
    pub fn restricted(&self, role_by: RoleBy) -> bool {
        role_by == RoleBy::Ordinal || self.set_mode != SetMode::Pgc
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contract(tag: &str) -> Contract {
        let image: Image = format!("crunchydata/crunchy-postgres:{tag}").parse().expect(tag);
        Contract::of(&image, None)
    }

    fn set(name: &str) -> SetName {
        name.parse().expect(name)
    }

    /// One line a tag: words, `PG_MODE=set`, labels, hyphens, whether the port is mandatory, default roles, programs.
    fn line(tag: &str) -> String {
        let contract = contract(tag);
        let version = contract.version.map_or("unknown".to_owned(), |version| version.to_string());
        let Contract { words, set_mode, labels, hyphens, port_mandatory, programs, mode_variable, .. } = contract;
        let roles = contract.role_by(&set("pgset"));
        let hyphenated = contract.role_by(&set("pg-set"));
        format!(
            "{version} {words:?} set={set_mode:?} labels={labels:?} hyphens={hyphens} port={port_mandatory} \
             {roles}/{hyphenated} {programs} mode={mode_variable}"
        )
    }

    #[test]
    fn tag_by_tag() {
        let kubectl = |version: &str, words: &str, rest: &str| format!("{version} {words} set=Kubectl {rest}");
        let old = "labels=Primary hyphens=false port=false image/ordinal /opt/cpm/bin mode=false";
        let five = "labels=Primary hyphens=true port=false image/image /opt/cpm/bin mode=false";
        let both = "labels=Both hyphens=true port=true image/image /opt/cpm/bin mode=false";
        let pgc = "Primary set=Pgc labels=Both hyphens=true port=true ordinal/ordinal /opt/cpm/bin mode=false";
        let gone = "Primary set=None labels=Both hyphens=true port=true ordinal/ordinal";
        for (tag, expected) in [
            (
                "centos7-9.5-1.2.6",
                "1.2.6 Master set=None labels=Primary hyphens=false port=false ordinal/ordinal /opt/cpm/bin mode=false"
                    .to_owned(),
            ),
            ("centos7-9.5-1.2.7", kubectl("1.2.7", "Master", old)),
            ("centos7-9.6-1.2.7-rc2", kubectl("1.2.7", "Master", old)),
            ("centos7-9.6-1.2.8", kubectl("1.2.8", "Master", old)),
            ("rhel7-9.6-1.3.0", kubectl("1.3.0", "Master", old)),
            ("centos7-9.6-1.3.1", kubectl("1.3.1", "Master", old)),
            ("centos7-9.6-1.4.0", kubectl("1.4.0", "Master", old)),
            ("centos7-9.6-1.4.1", kubectl("1.4.1", "Master", old)),
            ("centos7-9.6-1.5", kubectl("1.5.0", "Master", five)),
            ("centos7-9.6-1.5.1", kubectl("1.5.1", "Master", five)),
            ("centos7-10.0-1.6.0", kubectl("1.6.0", "Primary", five)),
            ("centos7-10.1-1.7.0", kubectl("1.7.0", "Primary", five)),
            ("centos7-10.3-1.8.1", kubectl("1.8.1", "Primary", five)),
            ("centos7-10.3-1.8.2", kubectl("1.8.2", "Primary", both)),
            ("centos7-9.6.8-1.8.3", kubectl("1.8.3", "Primary", both)),
            ("centos7-10.4-2.0.0", kubectl("2.0.0", "Primary", both)),
            ("centos7-10.5-2.1.0", kubectl("2.1.0", "Primary", both)),
            ("centos7-10.5-2.2.0", format!("2.2.0 {pgc}")),
            ("centos7-11.1-2.3.0", format!("2.3.0 {pgc}")),
            ("centos7-11.4-2.4.1", format!("2.4.1 {pgc}")),
            ("centos7-12.2-4.2.2", format!("4.2.2 {pgc}")),
            ("centos7-12.2-2.5-4.4.2", format!("4.4.2 {pgc}")),
            ("centos7-12.2-4.5.0", format!("4.5.0 {gone} /opt/cpm/bin mode=false")),
            ("centos8-13.2-4.6.1", format!("4.6.1 {gone} /opt/crunchy/bin/postgres mode=true")),
            ("centos8-13.3-3.1-4.7.0", format!("4.7.0 {gone} /opt/crunchy/bin/postgres mode=true")),
            ("centos7-9.5", format!("unknown {gone} /opt/crunchy/bin/postgres mode=true")),
            ("ubi8-14.2-1", format!("unknown {gone} /opt/crunchy/bin/postgres mode=true")),
            ("latest", format!("unknown {gone} /opt/crunchy/bin/postgres mode=true")),
        ] {
            assert_eq!(line(tag), expected, "{tag}");
        }
    }

    #[test]
    fn a_version_that_is_given_counts() {
        let image: Image = "mine:latest".parse().expect("an image");
        let given = "1.2.8".parse().expect("a version");
        assert_eq!(Contract::of(&image, Some(given)), contract("centos7-9.6-1.2.8"));
        assert_eq!("1.5".parse::<CrunchyVersion>().map(|version| version.to_string()), Ok("1.5.0".to_owned()));
        for bad in ["", "1", "1.2.x", "1.2.6.1", "centos7-9.5-1.2.6", "-1.2", "1..2", "99999.1", "+1.2"] {
            assert!(bad.parse::<CrunchyVersion>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_the_image_cannot_do_is_refused_with_the_reason() {
        let reason = |tag: &str, name: &str| contract(tag).check_image_roles(&set(name)).map_err(|error| error.reason);
        assert_eq!(reason("centos7-9.5-1.2.6", "pgset"), Err("the Crunchy image 1.2.6 has no PG_MODE=set".to_owned()));
        assert!(reason("x", "pgset").is_err_and(|text| text.contains("of a tag like this one has no PG_MODE=set")));
        assert!(reason("centos7-9.6-1.2.8", "pg-set").is_err_and(|text| text.contains("`pg-set` has a hyphen")));
        for (tag, name) in
            [("centos7-9.6-1.2.8", "pgset"), ("centos7-9.6-1.5", "pg-set"), ("centos7-11.1-2.3.0", "pg-set")]
        {
            assert_eq!(reason(tag, name), Ok(()), "{tag}");
        }
    }

    #[test]
    fn pgc_bears_nothing_it_does_not_know() {
        let pgc = contract("centos7-11.1-2.3.0");
        assert!(!pgc.restricted(RoleBy::Image) && pgc.restricted(RoleBy::Ordinal));
        assert!(contract("centos7-10.4-2.0.0").restricted(RoleBy::Image));
    }

    #[test]
    fn each_word_has_its_names() {
        let names = |words: Words| {
            [
                words.variable(),
                words.primary_mode(),
                words.replica_mode(),
                words.secret_folder(),
                words.replication_user(),
            ]
        };
        assert_eq!(names(Words::Master), ["PG_MASTER", "master", "slave", "/pgmaster", "master"]);
        assert_eq!(names(Words::Primary), ["PG_PRIMARY", "primary", "replica", "/pgprimary", "primaryuser"]);
    }
}
