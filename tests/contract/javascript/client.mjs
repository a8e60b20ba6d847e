// What a program in JavaScript does with an online endpoint; prints one line of JSON.
import { AzureMachineLearningWorkspaces } from "@azure/arm-machinelearning";
import { ManagedIdentityCredential } from "@azure/identity";

const { url, subscription, group, workspace, template, name } = JSON.parse(process.argv[2]);
const client = new AzureMachineLearningWorkspaces(new ManagedIdentityCredential(), subscription, {
  endpoint: url,
  credentialScopes: `${url}/.default`,
  updateIntervalInMs: 100,
});
const { onlineEndpoints, onlineDeployments } = client;
const quickly = { updateIntervalInMs: 100 };
const seen = {};

const endpoint = { location: "eastus", identity: { type: "SystemAssigned" }, properties: { authMode: "Key" } };
const made = await onlineEndpoints.beginCreateOrUpdateAndWait(group, workspace, name, endpoint, quickly);
seen.created = made.properties.provisioningState;

const [source, color] = template.split("/");
const blue = await onlineDeployments.get(group, workspace, source, color);
const { instanceType, model, environmentId, codeConfiguration, requestSettings } = blue.properties;
const properties = { endpointComputeType: "Managed", instanceType, model, environmentId, codeConfiguration, requestSettings };
const deployment = { location: "eastus", sku: { name: "Default", capacity: 1 }, properties };
const deployed = await onlineDeployments.beginCreateOrUpdateAndWait(group, workspace, name, "blue", deployment, quickly);
seen.deployed = deployed.properties.provisioningState;

endpoint.properties.traffic = { blue: 100 };
const routed = await onlineEndpoints.beginCreateOrUpdateAndWait(group, workspace, name, endpoint, quickly);
seen.traffic = routed.properties.traffic;

const { primaryKey } = await onlineEndpoints.listKeys(group, workspace, name);
const headers = { Authorization: `Bearer ${primaryKey}`, "Content-Type": "application/json" };
const scored = await fetch(routed.properties.scoringUri, { method: "POST", headers, body: '{"data": [1, 2]}' });
seen.scored = (await scored.json()).sum;

const wrong = { ...endpoint, properties: { ...endpoint.properties, traffic: { blue: 99 } } };
await onlineEndpoints.beginCreateOrUpdateAndWait(group, workspace, name, wrong, quickly).catch((error) => {
  seen.refused = [error.statusCode, error.code];
});

seen.listed = [];
for await (const one of onlineEndpoints.list(group, workspace)) seen.listed.push(one.name);
await onlineEndpoints.beginDeleteAndWait(group, workspace, name, quickly);
seen.deleted = await onlineEndpoints.get(group, workspace, name).catch((error) => error.statusCode);
console.log(JSON.stringify(seen));
