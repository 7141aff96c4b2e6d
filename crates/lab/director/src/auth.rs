//! Authentication and authorization: local users, or clients of a UAA that the same server implements.

use secrecy::{ExposeSecret, SecretString};
use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use boshy_mesh::Timestamp;
use serde_json::json;
use url::form_urlencoded;

use super::{
    DirectorError,
    request::{Answer, Kind, Request},
};

/// A user of the director, or a client of its UAA.
#[derive(Clone, Debug)]
pub struct Account {
    /// Name.
    pub name: String,
    /// Password or client secret.
    pub secret: SecretString,
    /// `bosh.admin`, `bosh.read`, `bosh.teams.TEAM.admin`, `bosh.teams.TEAM.read`, or others, which have no meaning
    /// here.
    pub scopes: Vec<String>,
}

impl Account {
    /// An account that may do everything.
    pub fn admin(name: &str, secret: &str) -> Self {
        Self { name: name.to_owned(), secret: SecretString::from(secret), scopes: vec!["bosh.admin".to_owned()] }
    }

    /// An account that may read.
    pub fn reader(name: &str, secret: &str) -> Self {
        Self { scopes: vec!["bosh.read".to_owned()], ..Self::admin(name, secret) }
    }
}

/// How to log in.
#[derive(Clone, Debug)]
pub enum Authentication {
    /// Local users.
    Basic(Vec<Account>),
    /// Clients of a UAA.
    Uaa {
        /// Clients.
        clients: Vec<Account>,
        /// Lifetime of a token, in whole seconds.
        token_lifetime: Duration,
    },
}

/// Permission that a request requires. An account that may do or read everything may also read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// To change something.
    Write,
    /// To read everything of the director.
    Read,
    /// To read one deployment; members of its teams may.
    ReadOwn,
    /// To list deployments or tasks; admins of a team get those of the team.
    List,
    /// To read what is shown in full to the members of any team.
    ReadAny,
}

/// The account that sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) name: String,
    scopes: Vec<String>,
}

#[derive(Debug)]
struct Grant {
    caller: Caller,
    good_until: Timestamp,
}

#[derive(Debug)]
pub(super) struct Gate {
    pub(super) authentication: Authentication,
    uuid: String,
    tokens: BTreeMap<String, Grant>,
    refresh: BTreeMap<String, Caller>,
    last_token: u64,
}

impl Gate {
    pub(super) fn new(authentication: Authentication, uuid: &str) -> Self {
        Self { authentication, uuid: uuid.to_owned(), tokens: BTreeMap::new(), refresh: BTreeMap::new(), last_token: 0 }
    }

    /// The account of a request, if its credentials are valid.
    pub(super) fn caller(&self, request: &Request, now: Timestamp) -> Option<Caller> {
        let (scheme, rest) = request.authorization.as_deref()?.split_once(' ')?;
        match &self.authentication {
            Authentication::Basic(users) if scheme.eq_ignore_ascii_case("basic") => {
                account(users, rest).map(Caller::of)
            }
            Authentication::Uaa { .. } if scheme.eq_ignore_ascii_case("bearer") => {
                let grant = self.tokens.get(rest)?;
                (now < grant.good_until).then(|| grant.caller.clone())
            }
            _ => None,
        }
    }

    /// Refuses a caller without the permission. Valid credentials with too few scopes are answered with 401 as well.
    /// `owners` are the teams of the requested deployment.
    pub(super) fn refuse(&self, caller: &Caller, right: Right, owners: &[String]) -> Option<Answer> {
        let mut enough = self.scopes("admin");
        if right != Right::Write {
            enough.extend(self.scopes("read"));
        }
        let of_team = match right {
            Right::Write | Right::Read => false,
            Right::ReadOwn => owners.iter().any(|team| caller.is_of(team, &["admin", "read"])),
            Right::List => caller.teams(&["admin"]).next().is_some(),
            Right::ReadAny => caller.teams(&["admin", "read"]).next().is_some(),
        };
        if of_team || caller.has_one(&enough) {
            return None;
        }
        let text = format!("Require one of the scopes: {}", enough.join(", "));
        Some(DirectorError::new(401, 600_000, text).into())
    }

    /// The teams to whose deployments a caller's lists are restricted; `None` for a caller that may read everything.
    pub(super) fn only_teams(&self, caller: &Caller) -> Option<Vec<String>> {
        let all = [self.scopes("admin"), self.scopes("read")].concat();
        (!caller.has_one(&all)).then(|| caller.teams(&["admin"]).map(str::to_owned).collect())
    }

    fn scopes(&self, right: &str) -> Vec<String> {
        vec![format!("bosh.{right}"), format!("bosh.{}.{right}", self.uuid)]
    }

    /// Changes an account's scopes. A token keeps the scopes with which it was issued.
    pub(super) fn grant(&mut self, name: &str, scopes: &[&str]) {
        let (Authentication::Basic(accounts) | Authentication::Uaa { clients: accounts, .. }) =
            &mut self.authentication;
        for account in accounts.iter_mut().filter(|account| account.name == name) {
            account.scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        }
    }

    /// Invalidates all tokens, like a UAA with new keys.
    pub(super) fn revoke_tokens(&mut self) {
        self.tokens.clear();
    }

    /// `GET /login`: the prompts of the CLI for a person.
    pub(super) fn prompts(&self) -> Answer {
        match &self.authentication {
            Authentication::Uaa { .. } => {
                let prompts = json!({"username": ["text", "Email"], "password": ["password", "Password"]});
                Answer::json(&json!({"app": {"version": "0"}, "prompts": prompts}))
            }
            Authentication::Basic(_) => Answer::text(404, Kind::Plain, "Not Found: /login"),
        }
    }

    /// `POST /oauth/token` of a client or a person; a person is one of the clients here.
    pub(super) fn token(&mut self, request: &Request, now: Timestamp) -> Answer {
        let refused = |status, error: &str, text: &str| {
            Answer::json_as(status, Kind::Json, &json!({"error": error, "error_description": text}))
        };
        let Authentication::Uaa { clients, token_lifetime } = &self.authentication else {
            return Answer::text(404, Kind::Plain, "Not Found: /oauth/token");
        };
        let form: BTreeMap<String, String> = form_urlencoded::parse(&request.body).into_owned().collect();
        let given = |key: &str| form.get(key).map(String::as_str).unwrap_or_default();
        let caller = match given("grant_type") {
            "client_credentials" => {
                let basic = request.authorization.as_deref().and_then(|value| value.strip_prefix("Basic "));
                basic.and_then(|basic| account(clients, basic)).map(Caller::of)
            }
            "password" => known(clients, given("username"), given("password")).map(Caller::of),
            "refresh_token" => self.refresh.get(given("refresh_token")).cloned(),
            _ => {
                return refused(
                    400,
                    "unsupported_grant_type",
                    "only client_credentials, password and refresh_token are known",
                );
            }
        };
        let Some(caller) = caller else {
            return refused(401, "unauthorized", "Bad credentials");
        };
        let seconds = token_lifetime.as_secs();
        self.last_token += 1;
        let jti = format!("token-{}", self.last_token);
        let mut body = json!({
            "access_token": jti,
            "token_type": "bearer",
            "expires_in": seconds.saturating_sub(1),
            "scope": caller.scopes.join(" "),
            "jti": jti,
        });
        if given("grant_type") != "client_credentials" {
            let refresh = format!("{jti}-r");
            body["refresh_token"] = json!(refresh);
            self.refresh.insert(refresh, caller.clone());
        }
        self.tokens.insert(jti, Grant { caller, good_until: Timestamp(now.0 + seconds) });
        Answer::json(&body)
    }
}

impl Caller {
    fn of(account: &Account) -> Self {
        Self { name: account.name.clone(), scopes: account.scopes.clone() }
    }

    fn has_one(&self, enough: &[String]) -> bool {
        self.scopes.iter().any(|scope| enough.contains(scope))
    }

    fn teams<'a>(&'a self, rights: &'a [&str]) -> impl Iterator<Item = &'a str> {
        let scopes = self.scopes.iter().filter_map(|scope| scope.strip_prefix("bosh.teams.")?.rsplit_once('.'));
        scopes.filter(|(_, right)| rights.contains(right)).map(|(team, _)| team)
    }

    fn is_of(&self, team: &str, rights: &[&str]) -> bool {
        self.teams(rights).any(|own| own == team)
    }
}

fn account<'a>(accounts: &'a [Account], basic: &str) -> Option<&'a Account> {
    let decoded = String::from_utf8(STANDARD.decode(basic).ok()?).ok()?;
    let (name, secret) = decoded.split_once(':')?;
    known(accounts, name, secret)
}

fn known<'a>(accounts: &'a [Account], name: &str, secret: &str) -> Option<&'a Account> {
    accounts.iter().find(|account| account.name == name && account.secret.expose_secret() == secret)
}
