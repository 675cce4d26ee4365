/** The orders in force: what, who, why, until when; each can be taken back. */
import { Button } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";

import type { Order } from "../../core/traffic";
import type { OperatorApi } from "../../shell/operator";
import { useToast } from "../Toast";
import { moment, orderWords } from "./say";

const AGAIN_MS = 4_000;

export function Orders({ api }: { api: OperatorApi }) {
  const queries = useQueryClient();
  const { attempt } = useToast();
  const { data, dataUpdatedAt } = useQuery({ queryKey: ["operator", "orders"], queryFn: api.orders, refetchInterval: AGAIN_MS, staleTime: 0 });
  const orders = data?.orders ?? [];

  async function undo(order: Order) {
    await attempt("The order was not taken back", () => api.undo(order.id));
    await queries.invalidateQueries({ queryKey: ["operator"] });
  }

  return (
    <section className="operator-part" aria-labelledby="operator-orders">
      <h2 id="operator-orders">Orders</h2>
      {orders.length === 0 ? (
        <p className="operator-note">None is in force: sites are judged by what is seen of them.</p>
      ) : (
        <ul className="operator-orders">
          {orders.map((order) => (
            <li key={order.id}>
              <div>
                <strong>{orderWords(order)}</strong>
                <small>{order.id}, by {order.who}{order.why !== "" && `: ${order.why}`}; {order.until === null ? "until it is taken back" : `until ${moment(order.until, dataUpdatedAt)}`}</small>
              </div>
              <Button size="compact-sm" variant="default" aria-label={`Take back: ${orderWords(order)}`} onClick={() => void undo(order)}>Take back</Button>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
