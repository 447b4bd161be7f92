// An OpenID Connect provider for tests: the package as it is, with a configuration and accounts that are read anew for each sign-in.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { MODULES, ACCOUNTS, PORT, BACK } = process.env;
const { default: Provider } = await import(pathToFileURL(`${MODULES}/oidc-provider/lib/index.js`));
const issuer = `http://127.0.0.1:${PORT}`;
const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "countersign",
      client_secret: "not-a-secret-of-anybody",
      redirect_uris: [`${BACK}/sign-in/back`],
      post_logout_redirect_uris: [`${BACK}/sign-in`],
      require_auth_time: true,
    },
  ],
  claims: { openid: ["sub"], email: ["email", "email_verified"], groups: ["groups"] },
  scopes: ["openid", "email", "groups"],
  conformIdTokenClaims: false,
  pkce: { required: () => true },
  cookies: { keys: ["a test's key"] },
  features: { devInteractions: { enabled: true }, rpInitiatedLogout: { enabled: true } },
  async findAccount(_context, subject) {
    const account = JSON.parse(readFileSync(ACCOUNTS, "utf8"))[subject];
    return account && { accountId: subject, claims: async () => ({ sub: subject, ...account }) };
  },
});
provider.listen(Number(PORT), "127.0.0.1");
