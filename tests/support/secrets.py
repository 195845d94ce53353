"""Texts that hold a secret, and names of files that do, for the guard to refuse.

Everything is put together at run time from a seeded generator, so that no file of
the project trips another scanner, and nothing here was ever valid.
"""

from __future__ import annotations

import base64
import json
import random
import string

_CHOOSER = random.Random(20240)
_UPPER, _LOWER, _DIGITS = string.ascii_uppercase, string.ascii_lowercase, string.digits
_ALNUM = _UPPER + _LOWER + _DIGITS
_URL = _ALNUM + "-_"


def _of(alphabet: str, count: int) -> str:
    while True:
        text = "".join(_CHOOSER.choice(alphabet) for _ in range(count))
        # As its issuer's generator would: never without one of each kind.
        kinds = [kind for kind in (_LOWER, _DIGITS) if set(kind) <= set(alphabet)]
        if count < 8 or all(set(kind) & set(text) for kind in kinds):
            return text


def _an(count: int) -> str:
    return _of(_ALNUM, count)


def _url(count: int) -> str:
    return _an(1) + _of(_URL, count - 2) + _an(1)


def _hex(count: int) -> str:
    return _of("0123456789abcdef", count)


def _b64(count: int) -> str:
    return base64.b64encode(_CHOOSER.randbytes(count * 3 // 4)).decode()


def _uuid() -> str:
    return "-".join(_hex(n) for n in (8, 4, 4, 4, 12))


def _password(count: int = 14) -> str:
    return _of(_ALNUM + "!-_+.", count - 1) + "7"


def _pem(kind: str, newline: str = "\n") -> str:
    body = newline.join(_b64(48) for _ in range(12))
    return (
        f"-----BEGIN {kind}PRIVATE KEY-----{newline}{body}{newline}-----END {kind}PRIVATE KEY-----"
    )


def _jwt() -> str:
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
    body = json.dumps({"sub": _an(8), "iat": 1700000000, "role": "service"}).encode()
    return f"{head}.{base64.urlsafe_b64encode(body).decode().rstrip('=')}.{_url(43)}"


# How a value stands in a file.
_FORMS = {
    "env": "{name}={value}\n",
    "python": "{name} = '{value}'\n",
    "annotated python": '{name}: str = "{value}"\n',
    "json": '{{"{name}": "{value}", "x": 1}}\n',
    "yaml": "settings:\n  {name}: {value}\n",
    "shell": 'export {name}="{value}"\n',
    "call": 'client = Client({name}="{value}")\n',
}

# Tokens that their issuer's prefix or length tells, with the variable they are usually kept in.
_TOKENS = {
    "AWS access key": ("AWS_ACCESS_KEY_ID", lambda: "AKIA" + _of(_UPPER + "234567", 16)),
    "AWS session key": ("aws_access_key_id", lambda: "ASIA" + _of(_UPPER + "234567", 16)),
    "AWS secret key": ("aws_secret_access_key", lambda: _b64(40)),
    "AWS secret key of JSON": ("SecretAccessKey", lambda: _b64(40)),
    "OpenAI legacy key": ("OPENAI_API_KEY", lambda: "sk-" + _an(48)),
    "OpenAI old key": ("openai_api_key", lambda: "sk-" + _an(20) + "T3Blbk" + "FJ" + _an(20)),
    "OpenAI project key": ("OPENAI_API_KEY", lambda: "sk-proj-" + _url(124)),
    "OpenAI service key": ("OPENAI_API_KEY", lambda: "sk-svcacct-" + _url(100)),
    "Anthropic key": ("ANTHROPIC_API_KEY", lambda: "sk-ant-api03-" + _url(93) + "AA"),
    "OpenRouter key": ("OPENROUTER_API_KEY", lambda: "sk-or-v1-" + _hex(64)),
    "DeepSeek key": ("DEEPSEEK_API_KEY", lambda: "sk-" + _hex(32)),
    "Groq key": ("GROQ_API_KEY", lambda: "gsk_" + _an(52)),
    "xAI key": ("XAI_API_KEY", lambda: "xai-" + _an(80)),
    "Hugging Face token": ("HF_TOKEN", lambda: "hf_" + _of(_UPPER + _LOWER, 34)),
    "Hugging Face organisation token": ("HF_TOKEN", lambda: "api_org_" + _of(_UPPER + _LOWER, 34)),
    "Replicate token": ("REPLICATE_API_TOKEN", lambda: "r8_" + _an(37)),
    "Perplexity key": ("PPLX_API_KEY", lambda: "pplx-" + _an(48)),
    "LangSmith key": ("LANGCHAIN_API_KEY", lambda: f"lsv2_pt_{_hex(32)}_{_hex(10)}"),
    "Weights & Biases key": ("WANDB_API_KEY", lambda: _hex(40)),
    "Pinecone key": ("PINECONE_API_KEY", lambda: f"pcsk_{_an(6)}_{_an(63)}"),
    "NVIDIA key": ("NVIDIA_API_KEY", lambda: "nvapi-" + _url(64)),
    "Mistral key": ("MISTRAL_API_KEY", lambda: _an(32)),
    "Cohere key": ("COHERE_API_KEY", lambda: _an(40)),
    "GitHub token": ("GITHUB_TOKEN", lambda: "ghp_" + _an(36)),
    "GitHub app token": ("GH_TOKEN", lambda: "ghs_" + _an(36)),
    "GitHub OAuth token": ("token", lambda: "gho_" + _an(36)),
    "GitHub fine-grained token": ("GITHUB_TOKEN", lambda: f"github_pat_{_an(22)}_{_an(59)}"),
    "GitLab token": ("GITLAB_TOKEN", lambda: "glpat-" + _url(20)),
    "GitLab deploy token": ("DEPLOY_TOKEN", lambda: "gldt-" + _url(20)),
    "GitLab runner token": ("token", lambda: "glrt-" + _url(20)),
    "GitLab trigger token": ("TRIGGER", lambda: "glptt-" + _hex(40)),
    "Bitbucket app password": ("BITBUCKET_PASSWORD", lambda: "ATBB" + _an(32)),
    "Bitbucket repository token": ("BB_TOKEN", lambda: "ATCTT3xFfGN0" + _url(160) + "=" + _hex(8).upper()),
    "Atlassian token": ("JIRA_API_TOKEN", lambda: "ATATT3xFfGF0" + _url(170) + "=" + _hex(8).upper()),
    "Slack bot token": ("SLACK_BOT_TOKEN", lambda: f"xoxb-{_of(_DIGITS[1:], 12)}-{_of(_DIGITS[1:], 13)}-{_an(24)}"),
    "Slack app token": ("SLACK_APP_TOKEN", lambda: f"xapp-1-A{_of(_UPPER + _DIGITS, 10)}-{_of(_DIGITS[1:], 13)}-{_hex(64)}"),
    "Slack session token": ("SLACK_TOKEN", lambda: f"xoxc-{_of(_DIGITS[1:], 12)}-{_of(_DIGITS[1:], 12)}-{_of(_DIGITS[1:], 12)}-{_hex(64)}"),
    "Slack session cookie": ("SLACK_COOKIE", lambda: "xoxd-" + _an(120)),
    "Slack user token": ("SLACK_TOKEN", lambda: "-".join(["xoxp", *(_of(_DIGITS[1:], 12) for _ in range(3)), _hex(32)])),
    "Slack webhook": ("SLACK_WEBHOOK_URL", lambda: "https://hooks.slack.com/services/T" + f"{_of(_UPPER + _DIGITS, 8)}/B{_of(_UPPER + _DIGITS, 8)}/{_an(24)}"),
    "Discord webhook": ("WEBHOOK", lambda: f"https://discord.com/api/webhooks/{_of(_DIGITS[1:], 18)}/{_url(68)}"),
    "Discord bot token": ("DISCORD_TOKEN", lambda: f"MT{_an(24)}.{_an(6)}.{_url(38)}"),
    "Telegram bot token": ("TELEGRAM_TOKEN", lambda: f"{_of(_DIGITS[1:], 10)}:AA{_url(33)}"),
    "Teams webhook": ("TEAMS_WEBHOOK", lambda: f"https://acme.webhook.office.com/webhookb2/{_uuid()}@{_uuid()}/IncomingWebhook/{_hex(32)}/{_uuid()}"),
    "Stripe live key": ("STRIPE_KEY", lambda: "sk_live_" + _an(24)),
    "Stripe restricted key": ("STRIPE_KEY", lambda: "rk_live_" + _an(99)),
    "Stripe webhook secret": ("STRIPE_WEBHOOK_SECRET", lambda: "whsec_" + _an(32)),
    "Square token": ("SQUARE_TOKEN", lambda: "sq0atp-" + _url(22)),
    "Braintree token": ("BRAINTREE", lambda: f"access_token$production${_of(_LOWER + _DIGITS, 16)}${_hex(32)}"),
    "PyPI token": ("TWINE_PASSWORD", lambda: "pypi-AgEIcHlwaS5v" + "cmc" + _url(120)),
    "Test PyPI token": ("TWINE_PASSWORD", lambda: "pypi-AgENdGVzdC5w" + "eXBpLm9yZ" + _url(120)),
    "npm token": ("NPM_TOKEN", lambda: "npm_" + _an(36)),
    "RubyGems key": ("GEM_HOST_API_KEY", lambda: "rubygems_" + _hex(48)),
    "Docker Hub token": ("DOCKERHUB_TOKEN", lambda: "dckr_pat_" + _url(27)),
    "Docker Hub organisation token": ("DOCKER_TOKEN", lambda: "dckr_oat_" + _url(32)),
    "Grafana service account token": ("GRAFANA_TOKEN", lambda: f"glsa_{_an(32)}_{_hex(8)}"),
    "Grafana Cloud token": ("GRAFANA_CLOUD_TOKEN", lambda: "glc_eyJvIjoi" + _an(90)),
    "Grafana old key": ("GRAFANA_API_KEY", lambda: "eyJrIjoi" + _an(80)),
    "Shopify token": ("SHOPIFY_TOKEN", lambda: "shpat_" + _hex(32)),
    "Shopify shared secret": ("SHOPIFY_SECRET", lambda: "shpss_" + _hex(32)),
    "SendGrid key": ("SENDGRID_API_KEY", lambda: f"SG.{_url(22)}.{_url(43)}"),
    "Mailgun key": ("MAILGUN_API_KEY", lambda: "key-" + _hex(32)),
    "Mailchimp key": ("MAILCHIMP_API_KEY", lambda: _hex(32) + "-us14"),
    "Brevo key": ("BREVO_API_KEY", lambda: f"xkeysib-{_hex(64)}-{_an(16)}"),
    "Twilio key": ("TWILIO_API_KEY", lambda: "SK" + _hex(32)),
    "Google API key": ("GOOGLE_API_KEY", lambda: "AIza" + _url(35)),
    "Google OAuth secret": ("client_secret", lambda: "GOCSPX-" + _url(28)),
    "Google access token": ("access_token", lambda: "ya29." + _url(150)),
    "Google refresh token": ("refresh_token", lambda: "1//0" + _url(98)),
    "DigitalOcean token": ("DIGITALOCEAN_TOKEN", lambda: "dop_v1_" + _hex(64)),
    "Heroku key": ("HEROKU_API_KEY", lambda: _uuid()),
    "Heroku new key": ("HEROKU_API_KEY", lambda: "HRKU-AA" + _url(58)),
    "Cloudflare key": ("CLOUDFLARE_API_TOKEN", lambda: _url(40)),
    "Fly.io token": ("FLY_API_TOKEN", lambda: "fm2_" + _an(200)),
    "Netlify token": ("NETLIFY_AUTH_TOKEN", lambda: "nfp_" + _an(36)),
    "Vercel token": ("VERCEL_TOKEN", lambda: _an(24)),
    "Databricks token": ("DATABRICKS_TOKEN", lambda: "dapi" + _hex(32)),
    "Snowflake programmatic token": ("SNOWFLAKE_TOKEN", lambda: _url(180)),
    "Vault token": ("VAULT_TOKEN", lambda: "hvs." + _url(92)),
    "Vault batch token": ("VAULT_TOKEN", lambda: "hvb." + _url(150)),
    "Terraform Cloud token": ("TFE_TOKEN", lambda: f"{_an(14)}.atlasv1.{_url(66)}"),
    "Pulumi token": ("PULUMI_ACCESS_TOKEN", lambda: "pul-" + _hex(40)),
    "Doppler token": ("DOPPLER_TOKEN", lambda: "dp.pt." + _an(43)),
    "Doppler service token": ("DOPPLER_TOKEN", lambda: "dp.st.prd." + _an(43)),
    "Tailscale key": ("TS_AUTHKEY", lambda: f"tskey-auth-{_an(12)}CNTRL-{_an(32)}"),
    "1Password token": ("OP_SERVICE_ACCOUNT_TOKEN", lambda: "ops_eyJ" + _an(300)),
    "Prefect API key": ("PREFECT_API_KEY", lambda: "pnu_" + _an(36)),
    "Prefect bot key": ("PREFECT_API_KEY", lambda: "pnb_" + _an(36)),
    "Sentry token": ("SENTRY_AUTH_TOKEN", lambda: "sntryu_" + _hex(64)),
    "New Relic key": ("NEW_RELIC_API_KEY", lambda: "NRAK-" + _of(_UPPER + _DIGITS, 27)),
    "Datadog key": ("DATADOG_API_KEY", lambda: _of(_LOWER + _DIGITS, 40)),
    "Sonar token": ("SONAR_TOKEN", lambda: "squ_" + _hex(40)),
    "Snyk token": ("SNYK_TOKEN", lambda: _uuid()),
    "Postman key": ("POSTMAN_API_KEY", lambda: f"PMAK-{_hex(24)}-{_hex(34)}"),
    "Linear key": ("LINEAR_API_KEY", lambda: "lin_api_" + _an(40)),
    "Notion token": ("NOTION_TOKEN", lambda: f"ntn_{_of(_DIGITS, 11)}{_an(35)}"),
    "Notion old token": ("NOTION_TOKEN", lambda: "secret_" + _an(43)),
    "Airtable token": ("AIRTABLE_TOKEN", lambda: f"pat{_an(14)}.{_hex(64)}"),
    "Figma token": ("FIGMA_TOKEN", lambda: "figd_" + _url(40)),
    "PlanetScale token": ("PLANETSCALE_TOKEN", lambda: "pscale_tkn_" + _an(43)),
    "Supabase token": ("SUPABASE_ACCESS_TOKEN", lambda: "sbp_" + _hex(40)),
    "Supabase secret key": ("SUPABASE_SECRET_KEY", lambda: "sb_secret_" + _url(31)),
    "Neon key": ("NEON_API_KEY", lambda: "napi_" + _of(_LOWER + _DIGITS, 64)),
    "CircleCI token": ("CIRCLE_TOKEN", lambda: f"CCIPAT_{_an(22)}_{_hex(40)}"),
    "Buildkite token": ("BUILDKITE_TOKEN", lambda: "bkua_" + _hex(40)),
    "Artifactory key": ("ARTIFACTORY_API_KEY", lambda: "AKCp" + _an(69)),
    "Azure client secret": ("AZURE_CLIENT_SECRET", lambda: f"{_an(3)}8Q~{_an(34)}"),
    "age key": ("SOPS_AGE_KEY", lambda: "AGE-SECRET-" + "KEY-1" + _of("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58)),
    "signed JSON web token": ("ID_TOKEN", _jwt),
    "Tencent Cloud key": ("TENCENTCLOUD_SECRET_ID", lambda: "AKID" + _an(32)),
    "Alibaba Cloud key": ("ALIBABA_ACCESS_KEY", lambda: "LTAI5t" + _an(18)),
    "Facebook token": ("FB_TOKEN", lambda: "EAAC" + _an(160)),
}  # fmt: skip


def _whole_files() -> dict[str, str]:
    """Shapes that are more than a value."""
    secret = _password
    return {
        "RSA private key": _pem("RSA "),
        "private key": _pem(""),
        "EC private key": _pem("EC "),
        "OpenSSH private key": _pem("OPENSSH "),
        "encrypted private key": _pem("ENCRYPTED "),
        "private key with escaped line ends": json.dumps({"private_key": _pem("")}),
        "private key in a Python string": f'KEY = """{_pem("RSA ")}"""\n',
        "private key in YAML": "tls:\n  key: |\n" + "".join(f"    {line}\n" for line in _pem("").split("\n")),
        "private key with Windows line ends": _pem("RSA ", "\r\n"),
        "old encrypted private key": _pem("RSA ").replace(
            " KEY-----\n", " KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0F1A2B3C4D5E6F70\n\n", 1
        ),
        "private key in base64": "TLS_KEY=" + base64.b64encode(_pem("RSA ").encode()).decode(),
        "PGP private key": "-----BEGIN PGP PRIVATE" + f" KEY BLOCK-----\nVersion: GnuPG v2\n\n{_b64(64)}\n{_b64(64)}\n",
        "PuTTY key": "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: x\nPublic-Lines: 2\n"
        f"{_b64(64)}\n{_b64(20)}\nPrivate-Lines: 1\n{_b64(48)}\nPrivate-MAC: {_hex(64)}\n",
        "WireGuard configuration": f"[Interface]\nPrivateKey = {_b64(44)[:43]}=\nAddress = 10.0.0.2/32\n",
        "private JSON web key": json.dumps({"kty": "EC", "crv": "P-256", "x": _url(43), "d": _url(43)}),
        "Google service account": json.dumps({"type": "service_account", "private_key_id": _hex(40), "private_key": _pem("")}, indent=2),
        "npmrc": f"registry=https://npm.acme.io/\n//npm.acme.io/:_authToken={_uuid()}\n",
        "npmrc with a user": f"//npm.acme.io/:_auth={_b64(32)}\n",
        "npmrc with a password": f"//npm.acme.io/:username=ci\n//npm.acme.io/:_password={_b64(24)}\n",
        "Yarn configuration": f'npmRegistryServer: "https://npm.acme.io"\nnpmAuthToken: "{_uuid()}"\n',
        "pypirc": "[pypi]\nusername = __token__\npassword = pypi-AgEIcHlwaS5v" + f"cmc{_url(140)}\n",
        "pip configuration": f"[global]\nindex-url = https://ci:{secret()}@pypi.acme.io/simple\n",
        "kubeconfig with a token": f"apiVersion: v1\nkind: Config\nusers:\n- name: ci\n  user:\n    token: {_url(60)}\n",
        "kubeconfig with a web token": f"apiVersion: v1\nkind: Config\nusers:\n- name: ci\n  user:\n    token: {_jwt()}\n",
        "kubeconfig with a key": f"apiVersion: v1\nkind: Config\nusers:\n- user:\n    client-key-data: {_b64(400)}\n",
        "kubeconfig with a refresh token": f"kind: Config\nusers:\n- user:\n    auth-provider:\n      config:\n        refresh-token: {_an(50)}\n",
        "Docker login": json.dumps({"auths": {"https://index.docker.io/v1/": {"auth": _b64(40)}}}),
        "Docker identity token": json.dumps({"auths": {"acme.azurecr.io": {"identitytoken": _url(80)}}}),
        "netrc line": f"machine git.acme.io login ci password {secret()}\n",
        "netrc of several lines": f"machine git.acme.io\n  login ci\n  password {secret()}\n",
        "netrc line in a Dockerfile": f"RUN echo 'machine git.acme.io login ci password {secret()}' > ~/.netrc\n",
        "pgpass line": f"db1.acme.io:5432:shop:shop_rw:{secret()}\n",
        "pgpass line with wildcards": f"db1.acme.io:*:*:shop_rw:{secret()}\n",
        "pgpass line in a script": f"cat > ~/.pgpass <<END\npg.acme.io:5432:*:etl:{secret()}\nEND\n",
        "my.cnf with a host": f"[client]\nhost=db.acme.io, user=app; password={secret()}\n",
        "PostgreSQL address": f"DATABASE_URL=postgresql://app:{secret()}@db1.acme.io/shop\n",
        "PostgreSQL address with a driver": f"postgresql+psycopg2://app:{secret()}@10.2.3.4:5432/shop",
        "MySQL address": f"mysql+pymysql://app:{secret()}@db1.acme.io:3306/shop",
        "SQL Server address": f"mssql+pyodbc://sa:{secret()}@sql.acme.io/shop?driver=ODBC+Driver+18",
        "Snowflake address": f"snowflake://etl:{secret()}@xy12345.eu-west-1/shop/public?warehouse=wh",
        "Redis address": f"REDIS_URL=redis://:{secret()}@cache.acme.io:6379/0\n",
        "Redis address with TLS": f"rediss://default:{secret()}@redis-1.acme.io:6380",
        "MongoDB address": f"mongodb+srv://app:{secret()}@cluster0.ab1cd.mongodb.net/shop",
        "RabbitMQ address": f"amqps://app:{secret()}@mq.acme.io/prod",
        "ClickHouse address": f"clickhouse://etl:{secret()}@ch.acme.io:9000/default",
        "Oracle address": f"oracle+oracledb://etl:{secret()}@ora.acme.io:1521/?service_name=x",
        "Redshift address": f"redshift+psycopg2://etl:{secret()}@rs.acme.io:5439/dev",
        "FTP address": f"sftp://upload:{secret()}@files.acme.io/in",
        "web address with a password": f"https://ci:{secret()}@git.acme.io/shop.git",
        "git remote with a token": f"url = https://{_an(40)}@git.acme.io/shop.git\n",
        "git remote with a token and a user": f"url = https://oauth2:glpat-{_url(20)}@gitlab.acme.io/shop.git\n",
        "Elasticsearch address": f"https://elastic:{_an(24)}@es.acme.io:9243",
        "mail address": f"smtps://robot:{secret()}@smtp.acme.io:465",
        "ODBC connection string": f"Driver={{ODBC Driver 18}};Server=sql.acme.io;Database=shop;UID=sa;PWD={secret()};",
        "ADO connection string": f"Server=tcp:sql.acme.io,1433;Initial Catalog=shop;User ID=sa;Password={secret()};Encrypt=True",
        "libpq connection string": f"host=db1.acme.io port=5432 dbname=shop user=app password={secret()}",
        "JDBC address": f"jdbc:postgresql://db1.acme.io/shop?user=app&password={secret()}",
        "Azure storage connection string": f"DefaultEndpointsProtocol=https;AccountName=acme;AccountKey={_b64(88)[:86]}==;EndpointSuffix=core.windows.net",
        "Azure bus connection string": f"Endpoint=sb://acme.servicebus.windows.net/;SharedAccessKeyName=root;SharedAccessKey={_b64(44)[:43]}=",
        "Azure shared access signature": f"https://acme.blob.core.windows.net/in?sv=2022-11-02&ss=b&srt=co&sp=rl&se=2030-01-01T00:00:00Z&sig={_an(42)}%3D",
        "AWS credentials file": f"[default]\naws_access_key_id = AKIA{_of(_UPPER + '234567', 16)}\naws_secret_access_key = {_b64(40)}\n",
        "AWS answer in JSON": json.dumps({"AccessKey": {"AccessKeyId": "AKIA" + _of(_UPPER + "234567", 16), "SecretAccessKey": _b64(40)}}),
        "AWS secret in annotated Python": f'aws_secret_access_key: SecretStr = "{_b64(40)}"\n',
        "AWS secret in Terraform": f'provider "aws" {{\n  secret_key = "{_b64(40)}"\n}}\n',
        "AWS secret in camel case": f'const s3 = new S3({{ secretAccessKey: "{_b64(40)}" }})',
        "AWS session token": f"aws_session_token=IQoJb3JpZ2lu{_an(200)}\n",
        "Authorization header": f'headers = {{"Authorization": "Bearer {_an(40)}"}}\n',
        "Basic login in a header": f'headers = {{"Authorization": "Basic {_b64(36)}"}}\n',
        "GitLab header": f'curl --header "PRIVATE-TOKEN: {_an(20)}" https://gitlab.acme.io/api/v4\n',
        "login of curl": f"curl -u admin:{secret()} https://nexus.acme.io/\n",
        "htpasswd line": f"ci:$apr1${_an(8)}${_an(22)}\n",
        "bcrypt line": f"ci:$2y$10${_an(53)}\n",
        "shadow line": f"root:$6${_an(16)}${_an(86)}:19000:0:99999:7:::\n",
        "Kaggle key": json.dumps({"username": "acme", "key": _hex(32)}),
        "gh hosts": f"github.com:\n    user: octo\n    oauth_token: gho_{_an(36)}\n",
        "gh hosts, old": f"github.com:\n    oauth_token: {_hex(40)}\n    user: octo\n",
        "Prefect profile": f'active = "prod"\n[profiles.prod]\nPREFECT_API_KEY = "pnu_{_an(36)}"\n',
        "Prefect login": f'PREFECT_API_AUTH_STRING="admin:{secret()}"\n',
        "Django settings": f"SECRET_KEY = '{_of(_ALNUM + '!@#%^&*(-_=+)', 50)}'\n",
        "Google OAuth token file": json.dumps({"token": "ya29." + _url(180), "refresh_token": "1//0" + _url(90), "client_secret": "GOCSPX-" + _url(28)}),
        "token in UTF-16": "\ufeffTOKEN=ghp_" + _an(36),
        "OpenVPN key": "-----BEGIN OpenVPN Static key V1-----\n" + "\n".join(_hex(32) for _ in range(16)),
        "Kubernetes registry login": json.dumps({"auths": {"ghcr.io": {"username": "ci", "password": "ghp_" + _an(36), "auth": _b64(60)}}}),
        "notebook cell": json.dumps({"cells": [{"source": [f'openai.api_key = "sk-{_an(48)}"\n']}]}),
        "log line": f"2024-05-01T10:00:00Z POST /hooks?token=xoxb-{_of(_DIGITS[1:], 12)}-{_of(_DIGITS[1:], 12)}-{_an(24)} 200\n",
        "compose file": f"services:\n  api:\n    environment:\n      - DB=postgres://app:{secret()}@db1.acme.io/x\n",
        "Jupyter password in a URL parameter": f"https://acme.io/cb?access_token=ya29.{_url(120)}&x=1",
        "Postman collection": json.dumps({"auth": {"bearer": [{"key": "token", "value": _jwt()}]}}),
        "terraform state": json.dumps({"attributes": {"secret": _b64(40), "access_key": "AKIA" + _of(_UPPER + "234567", 16)}}),
        "two lines away": "# the key of the shop\n" * 40 + f"K = 'AIza{_url(35)}'\n" + "# end\n" * 40,
    }  # fmt: skip


def shapes() -> dict[str, bytes]:
    """Files that hold a secret, by what they are."""
    made = {}
    forms = list(_FORMS)
    for number, (label, (name, value)) in enumerate(_TOKENS.items()):
        for form in (forms[number % len(forms)], forms[(number * 3 + 2) % len(forms)]):
            made[f"{label}, {form}"] = _FORMS[form].format(name=name, value=value()).encode()
    for label, text in _whole_files().items():
        made[label] = text.encode("utf-16-le" if "UTF-16" in label else "utf-8")
    return made


NAMES = """
.env .env.local .env.production app/.env.staging .env.prod.local prod.env docker/db.env .env~ .env.bak
.env.old .envrc .env.keys #.env# .env.swp
id_rsa id_dsa id_ecdsa id_ed25519 keys/id_ed25519_sk id_rsa.bak id_rsa.old id_ed25519~ deploy_rsa
deploy_ed25519 server.key tls.key private.pem privkey.pem server-key.pem ca_key.pem jwt_private.pem
private-key.pem cert.p12 cert.pfx store.jks release.keystore passwords.kdbx putty.ppk AuthKey_AB12CD34EF.p8
client.ovpn host.keytab secring.gpg .ssh/config .ssh/deploy .gnupg/private-keys-v1.d/x ssh_host_rsa_key
age/keys.txt
.netrc _netrc .pgpass pgpass.conf .my.cnf .mylogin.cnf .git-credentials .htpasswd .smbcredentials .msmtprc
.npmrc app/.npmrc .yarnrc .pypirc .config/pip/pip.conf .cargo/credentials.toml .cargo/credentials
.gem/credentials .m2/settings.xml .gradle/gradle.properties auth.json .nuget/NuGet.Config
.dockercfg .docker/config.json .dockerconfigjson
kubeconfig kubeconfig.yaml prod.kubeconfig .kube/config admin.conf
.aws/credentials .aws/config rootkey.csv ci_accessKeys.csv credentials .boto .s3cfg rclone.conf
application_default_credentials.json .config/gcloud/credentials.db .config/gcloud/access_tokens.db
service-account.json service_account_prod.json shop-firebase-adminsdk-x1.json client_secret_123.apps.json
gcp-key.json google-credentials.json token.json token.pickle
.azure/accessTokens.json .azure/msal_token_cache.json .oci/config
terraform.tfvars prod.auto.tfvars prod.tfvars.json terraform.tfstate terraform.tfstate.backup .terraformrc
credentials.tfrc.json .vault-token .vault_pass vault-password.txt
.prefect/profiles.toml profiles.toml .config/gh/hosts.yml gh/hosts.yml .config/hub .config/glab-cli/config.yml
.dbt/profiles.yml .databrickscfg .snowsql/config .snowflake/connections.toml .streamlit/secrets.toml
kaggle.json .huggingface/token clouds.yaml openrc.sh shop-openrc.sh
secrets.yaml secrets.yml secret.json secrets.toml secrets.properties credentials.yml credentials.json
passwords.txt .bash_history .psql_history .python_history sftp-config.json sitemanager.xml ngrok.yml
.sentryclirc .pulumi/credentials.json .config/stripe/config.toml shadow .erlang.cookie master.key
copy/secrets.yaml.bak .netrc.orig credentials.json.save
""".split()  # noqa: SIM905

ORDINARY_NAMES = """
.env.example .env.sample .env.template .env.dist env.py environment.yml .environment
secrets.py credentials.py secret.go secrets.example.yaml credentials.json.example terraform.tfvars.example
id_rsa.pub deploy_ed25519.pub keys.py key.py keyboard.json tokens.py token.py tokenizer.json
settings.xml config.json config/hosts.yml hosts.yml profiles.yml config.yml config pip.conf
cacert.pem ca.crt server.crt package.json poetry.lock requirements.txt Dockerfile prefect.yaml
passwords.py history.py authentication.py auth.py kube.py docker-compose.yml gradle.properties
secrets.enc.yaml secrets.sops.yaml .env.gpg password_hasher.py monkey.png donkey.json
""".split()  # noqa: SIM905

# What documentation prints, and what stands for a value that comes later.
EXAMPLES = {
    "AWS's own key": "aws_access_key_id = AKIAIOSFODNN7" + "EXAMPLE",
    "AWS's own secret": "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "EXAMPLEKEY",
    "Xs": "token = 'ghp_" + "X" * 36 + "'",
    "small xs": "GITHUB_TOKEN=ghp_" + "x" * 36,
    "a run of digits": "sk-" + "1234567890" * 5,
    "the alphabet": "ghp_" + "abcdefghijklmnopqrstuvwxyz0123456789",
    "a placeholder": "OPENAI_API_KEY=sk-your-api-key-goes-here-1234567890abcdef",
    "an example address": "postgresql://user:password@localhost/db",
    "an address with a made-up host": "postgres://user:password@host:5432/db",
    "an address of example.com": "https://alice:s3cr3tpass@example.com/x",
    "an address of a subdomain": "amqp://guest:guest@mq.example.org//",
    "an address from the environment": "postgresql://app:${DB_PASSWORD}@db1.acme.io/x",
    "an address in a format string": 'f"postgresql://{user}:{password}@{host}/x"',
    "an address with a percent format": "'mysql://%s:%s@%s/x' % parts",
    "an address of a template": "postgresql://app:{{ password }}@db1.acme.io/x",
    "an address with a block": "https://x:{{ prefect.blocks.secret.token }}@git.acme.io/x.git",
    "a test database": "postgresql://prefect:prefect@postgres:5432/prefect",
    "an npmrc with a variable": "//npm.acme.io/:_authToken=${NPM_TOKEN}",
    "a netrc example": "machine example.com login user password secret",
    "a private key's first line": "-----BEGIN RSA PRIVATE" + " KEY-----",
    "an elided private key": "-----BEGIN PRIVATE" + " KEY-----\n...\n-----END PRIVATE KEY-----",
    "Stripe's own test key": "sk_test_" + "4eC39HqLyjWDarjtT1zdp7dc",
    "a web token of the standard's page": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
    "eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ."
    "SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
    "a checksum": "sha256:" + "3b2f6b1b0c2d4e5f" * 4,
    "a commit": "rev = 'da39a3ee5e6b4b0d3255bfef95601890afd80709'",
    "a UUID": "id: 014df517-39d1-4453-b7b3-9930c563627c",
    "an integrity": '"integrity": "sha512-' + "q1W2" * 21 + 'A=="',
    "Slack's example": "https://hooks.slack.com/services/T00000000/B00000000/" + "X" * 24,
    "sk-learn": "pip install sk-learn",
}  # fmt: skip
