//! Response codes that this server sends.

/// A response code (RFC 1035 section 4.1.1, RFC 6891 section 6.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rcode {
    /// The name exists; the answer may still be empty (no data of that type).
    NoError,
    /// The question could not be parsed.
    FormErr,
    /// The zone is not known yet, or the answer could not be made.
    ServFail,
    /// The name does not exist in the zone.
    NxDomain,
    /// The operation or kind of question is not implemented.
    NotImp,
    /// A question about another zone or class, or a zone transfer.
    Refused,
    /// The message is signed with a key that is not known (RFC 8945 section 5.2.1).
    NotAuth,
    /// An EDNS version other than 0.
    BadVers,
}

impl Rcode {
    /// All codes, in the order of the counters.
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

    /// The code on the wire. Of a code above 15, the upper bits travel in the OPT record.
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

    /// The mnemonic of the IANA registry, as shown in metrics.
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

    /// Position in [`Rcode::ALL`].
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
