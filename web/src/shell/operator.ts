/** What operators can ask of their region's directors, and the two orders they may give. */
import type { Change, DirectorStatus, Explanation, Flows, NewDrain, Order, Simulation } from "../core/traffic";
import type { Api } from "./api";

const ROOT = "/v1/operator/director";

export class OperatorApi {
  constructor(private readonly api: Api) {}

  status = () => this.api.ask(ROOT) as Promise<DirectorStatus>;
  flows = (service: string) => this.api.ask(`${ROOT}/flows?name=${service}`) as Promise<Flows>;
  orders = () => this.api.ask(`${ROOT}/orders`) as Promise<{ orders: Order[] }>;
  history = () => this.api.ask(`${ROOT}/history`) as Promise<{ site: string; changes: Change[] }>;
  simulate = (down: readonly string[]) => this.api.ask(`${ROOT}/simulate?down=${encodeURIComponent(down.join(","))}`) as Promise<Simulation>;
  explain = (address: string, service: string) =>
    this.api.ask(`${ROOT}/explain?address=${encodeURIComponent(address)}&name=${service}`) as Promise<Explanation>;
  drain = (wanted: NewDrain) => this.api.ask(`${ROOT}/orders`, { method: "POST", body: wanted });
  undo = (order: string) => this.api.ask(`${ROOT}/orders/${encodeURIComponent(order)}`, { method: "DELETE" });
}
