//! Response codes that this server sends.

/// A response code (RFC 1035 section 4.1.1, RFC 6891 section 6.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rcode {
    /// The name exists; the answer may still be empty (no data of that type).
    NoError,
    /// The question could not be read.
    FormErr,
    /// The zone is not known yet, or the answer could not be made.
    ServFail,
    /// The name does not exist in the zone.
    NxDomain,
    /// An operation or a kind of question that this server does not have.
    NotImp,
    /// A question about another zone or class, or a zone transfer.
    Refused,
    /// A signature, of which no key is known (RFC 8945 section 5.2.1).
    NotAuth,
    /// An EDNS version other than 0.
    BadVers,
}

impl Rcode {
    /// All codes, in the order in which counters keep them.
    pub const ALL: [Self; 8] = [
        Self::NoError,
        Self::FormErr,
        Self::ServFail,
        Self::NxDomain,
        Self::NotImp,
        Self::Refused,
        Self::NotAuth,
        Self::BadVers,
    ];

    /// The number that goes over the wire; above 15 its upper bits travel in the OPT record.
    pub const fn code(self) -> u16 {
        match self {
            Self::NoError => 0,
            Self::FormErr => 1,
            Self::ServFail => 2,
            Self::NxDomain => 3,
            Self::NotImp => 4,
            Self::Refused => 5,
            Self::NotAuth => 9,
            Self::BadVers => 16,
        }
    }

    /// The mnemonic of the IANA registry, as metrics show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoError => "NOERROR",
            Self::FormErr => "FORMERR",
            Self::ServFail => "SERVFAIL",
            Self::NxDomain => "NXDOMAIN",
            Self::NotImp => "NOTIMP",
            Self::Refused => "REFUSED",
            Self::NotAuth => "NOTAUTH",
            Self::BadVers => "BADVERS",
        }
    }

    /// Place in [`Rcode::ALL`].
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_at_its_place() {
        for (place, rcode) in Rcode::ALL.into_iter().enumerate() {
            assert_eq!(rcode.index(), place, "{}", rcode.as_str());
        }
    }
}
