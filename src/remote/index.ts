/** Teachers elsewhere: OpenAI-compatible endpoints, many at once. Nothing is sent to a host that the user did not name. */
export { modelOf, type TextAnswer, type TextRequest, type TokenChoice, writeText } from "./endpoint.ts";
export { checkHosts, foreignHosts, isEndpoint, isLoopback, parseEndpoints } from "./hosts.ts";
export { type EndpointOptions, EndpointPool, type EndpointUsage } from "./pool.ts";
export { type ScoreOptions, type ScoreRequest, type ScoreRows, scoreText } from "./score.ts";
