"""Reserve stock for an order: the saga's second step."""

from saga.runtime import Rejected, function, utcnow

from .messages import ProductReserved, ReserveProduct
from .store import Product, hold_units, take_units


@function
def reserve_product(command: ReserveProduct) -> ProductReserved:
    """Move `quantity` units from free stock to a reservation held by the order."""
    prices = take_units(command.product_id, command.quantity)
    if not prices:
        raise _refusal(command)
    hold_units(command.order_id, command.product_id, command.quantity, utcnow())
    [(price,)] = prices
    return ProductReserved(order_id=command.order_id, total=price * command.quantity)


def _refusal(command: ReserveProduct) -> Rejected:
    product = Product.get_or_none(Product.id == command.product_id)
    if product is None:
        return Rejected("product_not_found", f"there is no product {command.product_id}")
    return Rejected(
        "insufficient_stock",
        f"product {product.id} has fewer than {command.quantity} left",
    )
