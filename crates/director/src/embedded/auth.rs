//! Who may ask for what: local users, or clients of a UAA that the same server plays.

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
    /// `bosh.admin`, `bosh.read` or others, which are of no use here.
    pub scopes: Vec<String>,
}

impl Account {
    /// One that may do everything.
    pub fn admin(name: &str, secret: &str) -> Self {
        Self { name: name.to_owned(), secret: SecretString::from(secret), scopes: vec!["bosh.admin".to_owned()] }
    }

    /// One that may read.
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
        /// How long a token is good for, in whole seconds.
        token_lifetime: Duration,
    },
}

/// Who asks.
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

    /// Who asks, if the credentials are good.
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

    /// Good credentials with too few scopes are answered with 401 as well.
    pub(super) fn refuse(&self, caller: &Caller, writes: bool) -> Option<Answer> {
        let own = |scope: &str| [format!("bosh.{scope}"), format!("bosh.{}.{scope}", self.uuid)];
        let enough: Vec<String> =
            own("admin").into_iter().chain((!writes).then(|| own("read")).into_iter().flatten()).collect();
        if caller.scopes.iter().any(|scope| enough.contains(scope)) {
            return None;
        }
        let text = format!("Require one of the scopes: {}", enough.join(", "));
        Some(DirectorError::new(401, 600_000, text).into())
    }

    /// Forgets all tokens, as a UAA with new keys does.
    pub(super) fn revoke_tokens(&mut self) {
        self.tokens.clear();
    }

    /// `GET /login`: what the CLI asks a person for.
    pub(super) fn prompts(&self) -> Answer {
        match &self.authentication {
            Authentication::Uaa { .. } => {
                let prompts = json!({"username": ["text", "Email"], "password": ["password", "Password"]});
                Answer::json(&json!({"app": {"version": "0"}, "prompts": prompts}))
            }
            Authentication::Basic(_) => Answer::text(404, Kind::Plain, "Not Found: /login"),
        }
    }

    /// `POST /oauth/token` of a client, or of a person, who is one of the clients here.
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
}

fn account<'a>(accounts: &'a [Account], basic: &str) -> Option<&'a Account> {
    let decoded = String::from_utf8(STANDARD.decode(basic).ok()?).ok()?;
    let (name, secret) = decoded.split_once(':')?;
    known(accounts, name, secret)
}

fn known<'a>(accounts: &'a [Account], name: &str, secret: &str) -> Option<&'a Account> {
    accounts.iter().find(|account| account.name == name && account.secret.expose_secret() == secret)
}
